"""What a person sees of a status: tables that fit, lines that are cut off nowhere, a watch that ends."""

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.status import screen
from pipeline.status.summary import Reader
from tests.support import tiny
from tests.support.stores import handmade

BART, NONE = "net-bart2-pgd", "net-none-pgd"


@pytest.fixture
def job(tmp_path, pattern):
    job = handmade.made(tiny.campaign(pattern), tmp_path / "store")
    first, second, third = (handmade.unit_of(job, BART, place) for place in range(3))
    handmade.commit(job, first, at=1000, seconds=720.0, right=[4, 2, 0], device="Tesla V100")
    handmade.commit(job, third, at=1000, seconds=720.0, right=[4, 4], failed=["bad_image"], device="Tesla V100")
    handmade.checkpointed(job, second, at=1030, step=3, seconds=700.0)
    handmade.park(job, handmade.unit_of(job, NONE, 2))
    return job


@pytest.fixture
def status(job):
    return Reader(job.store, now=lambda: 1090.0).status()


def terminal(width):
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def drawn(status, width):
    console = terminal(width)
    screen.show(status, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_view_fits_the_terminal_and_keeps_what_matters_most(status, width):
    out = drawn(status, width)
    assert max(map(len, out.splitlines())) <= width
    (bart,) = [line for line in out.splitlines() if line.strip().startswith(BART)]
    assert "2/3" in bart and "70.0 [" in bart and "1" in bart.split()
    (none,) = [line for line in out.splitlines() if line.strip().startswith(NONE)]
    assert "0/3" in none
    out = " ".join(out.split())  # lines may break anywhere
    assert "2/6 units" in out and "bad_image 1" in out and "RuntimeError: no luck" in out and "…" not in out


def test_a_wide_view_has_every_column_and_a_narrow_one_says_the_least_needed(status):
    wide, narrow = drawn(status, 200), drawn(status, 60)
    for head in ("running", "parked", "left", "images", "clean", "attacked", "draw-gradients", "GPU-hours", "spent"):
        assert head in wide.split("----")[0]
    assert wide.index("attacked") and "attacked" in narrow and "clean" not in narrow
    (bart,) = [line for line in wide.splitlines() if line.strip().startswith(BART)]
    assert bart.split() == [
        BART,
        "2/3",
        "1",
        "6/8",
        "100.0",
        "[56.6,",
        "100.0]",
        *bart.split()[7:10],
        "90",
        "18",
        "1.19",
        "0.17",
    ]


def test_columns_that_say_nothing_are_left_out(status):
    quiet = replace(status, cells={BART: replace(status.cells[BART], parked=0, running=0)}, running=[], parked=[])
    out = drawn(quiet, 200)
    assert "running" not in out.splitlines()[4] and "parked" not in out.splitlines()[4]


def test_a_log_has_plain_lines_of_any_length(status, job):
    out = io.StringIO()
    screen.show(status, Console(file=out, width=40))
    units = {cell: [handmade.unit_of(job, cell, place).name for place in range(3)] for cell in (BART, NONE)}
    said = out.getvalue().replace(job.store, "STORE").splitlines()
    left = r"[\d.]+"
    expected = [
        "tiny in STORE",
        f"{NONE}: units 0/3 done, 0 running, 1 parked, 2 left; images 0/8; draw-gradients 0 done, 30 left; "
        "GPU-hours 0 spent, 0.19 left",
        f"{BART}: units 2/3 done, 1 running, 0 parked, 0 left; images 6/8; clean top-1 100.0 \\[{left}, 100.0\\] %; "
        f"attacked top-1 70.0 \\[{left}, {left}\\] %; draw-gradients 90 done, 18 left; GPU-hours 1.19 spent, 0.17 left",
        "2/6 units, 6/16 images; 1 running, 1 parked, 2 left",
        "time left: 10:46 at the present rate; newest file 1:00 old",
        "rate: 0.05 draw-gradients/s, 0.00333 images/s, 2.0 workers busy, in the last 30:00 of work",
        "cost: 90 draw-gradients done, at most 48 left; GPU-hours 1.19 spent, 0.36 left",
        "failed images: bad_image 1",
        f"running: {units[BART][1]}: step 3 of 6, checkpoint 1:00 old",
        f"parked: {units[NONE][2]}: attempts 1, last 2026-01-01T00:00:00\\+00:00 on host0: RuntimeError: no luck",
        "to retry the parked units: barrage run CAMPAIGN --retry-parked",
    ]
    assert len(said) == len(expected)
    for line, pattern in zip(said, expected, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_hours_are_called_by_the_device(status):
    assert "CPU-hours" in drawn(replace(status, devices=["cpu x86_64"]), 200)
    assert "device-hours" in drawn(replace(status, devices=[]), 200)
    assert "device-hours" in drawn(replace(status, devices=["NVIDIA H100", "cpu x86_64"]), 200)


def test_warnings_and_samples_are_said_everywhere(status):
    odd = replace(status, warnings=["nothing was written for 3 d"], stalled=True, files=10)
    for out in (drawn(odd, 200), "\n".join(screen.lines(odd))):
        assert "nothing was written for 3 d" in out and "at the rate of the last run" in out
        assert "of a sample, 2 of 10 files" in out


def test_long_lists_are_cut_with_their_number(status):
    many = replace(status, parked=status.parked * 25)
    said = [line for line in screen.lines(many) if line.startswith("parked: ")]
    assert len(said) == 11 and said[-1] == "parked: and 15 more"


def test_json_holds_everything(status):
    found = json.loads(screen.to_json(status))
    assert found["cells"][BART]["attacked"]["value"] == 0.7 and found["cells"][BART]["left"] == 0
    assert found["cells"][NONE]["attacked"] is None and found["complete"] is False and found["sampled"] is False
    assert found["running"][0]["age"] == 60 and found["parked"][0]["error"] == "RuntimeError: no luck"
    assert found["throughput"]["workers"] == pytest.approx(2, rel=0.35) and found["failed"] == {"bad_image": 1}


def complete(status):
    return replace(status, cells={name: replace(cell, done=cell.units) for name, cell in status.cells.items()})


def test_watching_ends_with_the_campaign(status):
    looks, naps = iter([status, status, complete(status)]), []
    out = io.StringIO()
    screen.watch(lambda: next(looks), Console(file=out, width=80), 60.0, naps.append)
    said = out.getvalue().splitlines()
    assert naps == [60.0, 60.0]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: 2/6 units", line) for line in said[:2])
    assert said[2].startswith("tiny in") and "complete" in said


def test_watching_in_a_terminal_draws_until_all_is_done(status):
    looks, naps, console = iter([status, status, complete(status)]), [], terminal(120)
    screen.watch(lambda: next(looks), console, 5.0, naps.append)
    assert next(looks, None) is None and len(naps) == 2 and min(naps) >= 5
    assert "complete" in console.file.getvalue()


def test_the_command_prints_json_and_lines(barrage, job):
    code, out, _ = barrage("status", job.store, "--json")
    assert code == 0 and json.loads(out)["name"] == "tiny"
    code, out, _ = barrage("status", job.store)
    assert code == 0 and "nothing was written" in out
