"""What status says of stores whose content is known: made by hand, or by a run and counted by the tables."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from pipeline.errors import BadInput
from pipeline.planning import cost
from pipeline.scoring import summaries
from pipeline.scoring.intervals import rate
from pipeline.status import scan
from pipeline.status.summary import QUIET, Reader
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.stores import handmade, release01

BART, NONE = "net-bart2-pgd", "net-none-pgd"
"""Three units each, of 3, 2 and 3 images; 18 and 6 draw-gradients an image, 4 draws and 1 to judge it."""


@pytest.fixture
def job(tmp_path, pattern):
    return handmade.made(tiny.campaign(pattern), tmp_path / "store")


def unit(job, cell, place=0):
    return handmade.unit_of(job, cell, place)


def at(job, now, **options):
    return Reader(job.store, now=lambda: now, **options).status()


def test_by_hand(job):
    handmade.commit(job, unit(job, BART), at=1000, seconds=10.0, right=[4, 2, 0])
    handmade.checkpointed(job, unit(job, BART, 1), at=1012, step=3, seconds=15.0)
    handmade.park(job, unit(job, NONE, 2), ["a", "Traceback\n  File\nOSError: disk gone"])
    found = at(job, 1020)
    bart, none = found.cells[BART], found.cells[NONE]
    assert (bart.units, bart.done, bart.running, bart.parked, bart.left) == (3, 1, 1, 0, 1)
    assert (none.units, none.done, none.running, none.parked, none.left) == (3, 0, 0, 1, 2)
    assert (bart.images, bart.images_done, none.images, none.images_done) == (8, 3, 8, 0)
    assert bart.attacked == rate([1, 0.5, 0]) and bart.clean == rate([1, 1, 1]) and none.attacked is None
    assert (bart.draw_gradients, none.draw_gradients) == (54, 0)
    assert (bart.draw_gradients_left, none.draw_gradients_left) == (4 * 18, 5 * 6), "half of two, and no parked ones"
    none_price = 10 * (6 + 2 / 3) / ((18 + 8 / 3) * 1.4)
    assert (bart.device_seconds, bart.device_seconds_left) == pytest.approx((30 + 15, 40))
    assert (none.device_seconds, none.device_seconds_left) == pytest.approx((0, 5 * none_price))
    assert (found.throughput.seconds, found.throughput.workers) == (30, 1)
    assert found.throughput.draw_gradients == pytest.approx(54 / 30)
    assert found.seconds_left == pytest.approx(40 + 5 * none_price)
    assert found.written == 8 and not found.stalled and not found.complete and not found.warnings
    (running,), (parked,) = found.running, found.parked
    assert (running.unit, running.step, running.steps, running.age) == (unit(job, BART, 1).name, 3, 6, 8)
    assert (parked.unit, parked.attempts, parked.host) == (unit(job, NONE, 2).name, 2, "host1")
    assert parked.error == "OSError: disk gone"
    assert (found.files, found.files_read, found.sampled) == (1, 1, False)


def test_two_workers_need_half_the_time(job):
    for place in (0, 2):  # both of three images
        handmade.commit(job, unit(job, BART, place), at=1000, seconds=10.0)
    found = at(job, 1001)
    assert found.throughput.workers == pytest.approx(2)
    total = sum(cell.device_seconds_left for cell in found.cells.values())
    assert found.seconds_left == pytest.approx(total / 2)


def test_a_finished_run_is_what_the_tables_say(finished):
    store = str(finished())
    found = Reader(store).status()
    assert found.complete and found.seconds_left == 0 and not found.running and not found.warnings
    for line in summaries.lines(results(store), ["single"]):
        cell = found.cells[line.cell]
        assert (cell.attacked, cell.clean, cell.images_read) == (line.adv_top1, line.clean_top1, line.images)
        assert cell.draw_gradients == line.draw_gradients and cell.draw_gradients_left == 0
        assert cell.device_seconds == pytest.approx(line.seconds) and cell.device_seconds_left == 0


def test_draw_gradients_are_those_spent_not_those_planned(job):
    handmade.commit(job, unit(job, BART), at=1000, gradients=7)
    assert at(job, 1001).cells[BART].draw_gradients == 21


def test_failed_images_by_reason_leave_the_accuracy(job):
    handmade.commit(job, unit(job, BART), at=1000, right=[1], failed=["bad_image", "bad_label"])
    handmade.commit(job, unit(job, NONE), at=1000, right=[1, 1], failed=["bad_image"])
    found = at(job, 1001)
    assert found.failed == {"bad_image": 2, "bad_label": 1}
    assert found.cells[BART].attacked == rate([0.25])


def test_of_many_files_a_sample_is_read_and_scaled(tmp_path, pattern):
    job = handmade.made(tiny.campaign(pattern, unit_images=1), tmp_path / "store")
    for place in range(6):
        handmade.commit(job, unit(job, BART, place), at=1000 + place, seconds=5.0, right=[place % 5])
    found = at(job, 1010, files=4)
    cell = found.cells[BART]
    assert (found.files, found.files_read, found.sampled, cell.images_read) == (6, 2, True, 2)
    assert (cell.images_done, cell.draw_gradients, cell.device_seconds) == (6, 6 * 18, 30)
    assert at(job, 1010, files=12).sampled is False


def test_the_sample_is_the_same_in_any_order_and_favours_no_part():
    names = [f"c--s--{i:06d}-{i + 1:06d}" for i in range(2000)]

    def sample(order):
        commits = scan.Commits()
        for name in order:
            commits.add(name, f"results/{name}.parquet", 0.0, 100)
        return {name for _, name, _ in commits.sample}

    found = sample(names)
    assert len(found) == 100 and found == sample(names[::-1])
    assert abs(sum(names.index(name) for name in found) / 100 - 1000) < 4 * 577 / 10


def test_what_was_read_once_is_not_read_again(job, monkeypatch):
    handmade.commit(job, unit(job, BART), at=1000)
    reader, read = Reader(job.store, now=lambda: 1001.0), []

    def counted(data, rows=scan._rows):
        read.append(1)
        return rows(data)

    monkeypatch.setattr(scan, "_rows", counted)
    first = reader.status()
    assert asdict(reader.status()) == asdict(first) and len(read) == 1
    handmade.commit(job, unit(job, BART, 1), at=1000)
    assert reader.status().cells[BART].done == 2 and len(read) == 2


def test_units_that_release_01_compacted_are_done_and_their_rows_are_read(job):
    for place in range(2):
        handmade.commit(job, unit(job, BART, place), at=1000 + place, seconds=1.0, right=[place] * 3)  # of four draws
    before = at(job, 1010).cells[BART]
    release01.compacted(job.store, BART)
    handmade.commit(job, unit(job, BART, 2), at=1020, seconds=1.0, right=[4] * 3)
    found = at(job, 1030)
    after = found.cells[BART]
    assert (before.done, after.done, before.device_seconds, after.device_seconds) == (2, 3, 5, 8) and not found.warnings
    assert before.attacked.value == pytest.approx(2 / 20) and after.attacked.value == pytest.approx((2 + 12) / 32)
    assert (after.images_done, found.written) == (8, 10) and found.throughput.images > 0


def test_a_store_where_nothing_moves_says_so(job):
    handmade.commit(job, unit(job, BART), at=1000, seconds=10.0)
    handmade.checkpointed(job, unit(job, BART, 1), at=1010, step=1, seconds=2.0)
    young, old = at(job, 1010 + QUIET), at(job, 1010 + QUIET + 1)
    assert (young.stalled, len(young.running), len(young.stopped), young.warnings) == (False, 1, 0, [])
    assert (old.stalled, len(old.running), len(old.stopped)) == (True, 0, 1)
    assert (old.cells[BART].running, old.cells[BART].left) == (0, 2)
    (warning,) = old.warnings
    assert "nothing was written for 10:01" in warning
    assert old.seconds_left == young.seconds_left, "at the rate when it last ran"


def test_long_units_may_be_silent_for_long(job):
    handmade.commit(job, unit(job, BART), at=1000, seconds=3600.0)
    assert not at(job, 1000 + 6 * 3600).stalled and at(job, 1001 + 6 * 3600).stalled


def test_a_checkpoint_of_a_committed_unit_is_left_over_once_it_is_old(job):
    handmade.commit(job, unit(job, BART), at=1000)
    handmade.checkpointed(job, unit(job, BART), at=1000, step=5, seconds=3.0)
    assert at(job, 1001).warnings == [] and at(job, 1001).running == []
    found = at(job, 1001 + QUIET)
    assert any("left over" in line and unit(job, BART).name in line for line in found.warnings)
    assert found.cells[BART].running == 0 and not found.stopped


@pytest.mark.parametrize(("first", "second"), [(2, 5), (5, 2)])
def test_of_several_checkpoints_of_a_unit_the_furthest_counts(job, first, second):
    name = f"{job.store}/checkpoints/{unit(job, BART).name}"
    handmade.checkpointed(job, unit(job, BART), at=1000, step=second, seconds=second * 0.6)
    shutil.move(f"{name}.safetensors", f"{name}.attempt1.safetensors")
    handmade.checkpointed(job, unit(job, BART), at=1000, step=first, seconds=first * 0.6)
    found = at(job, 1002)
    assert [running.step for running in found.running] == [5] and found.cells[BART].running == 1
    assert found.throughput is None and found.cells[BART].device_seconds_left == pytest.approx((8 - 3 * 5 / 6) * 3 / 2.5)


def test_a_parked_unit_that_somebody_managed_is_done(job):
    handmade.commit(job, unit(job, BART), at=1000)
    handmade.park(job, unit(job, BART))
    found = at(job, 1001)
    assert found.parked == [] and found.cells[BART].parked == 0 and found.cells[BART].left == 2


def test_names_of_cells_may_hold_hyphens(tmp_path, pattern):
    content = tiny.campaign(pattern)
    content["models"] = {"net": content["models"]["net"], "net-": content["models"]["net"]}
    content["defenses"] = {"none": {"k": 0}, "none--x": {"k": 0}}
    content["cells"] = [{"model": ["net", "net-"], "defense": list(content["defenses"]), "attack": "pgd"}]
    job = handmade.made(content, tmp_path / "store")
    for cell in job.cells:
        handmade.checkpointed(job, unit(job, cell), at=1000, step=1, seconds=1.0)
    assert [cell.running for cell in at(job, 1001).cells.values()] == [1, 1, 1, 1]


def test_what_is_odd_is_said_and_does_not_stop_anything(job):
    folder = Path(job.store)
    handmade.commit(job, unit(job, BART), at=1000, right=[4, 4, 4])
    (folder / f"results/{unit(job, BART, 1).name}.parquet").write_bytes(b"PAR1 torn")
    (folder / "results/notes.parquet").write_bytes(b"")
    (folder / "results/cell=other").mkdir()
    (folder / "results/cell=other/a--b--000000-000001.parquet").write_bytes(b"")
    (folder / "results/.aside.parquet").write_bytes(b"")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (folder / "parked").mkdir()
    (folder / "parked/torn.json").write_text('{"unit": ')
    for name, attempt in {"bare": {}, "poor": {"error": "x"}, "poorer": {"error": "x", "host": "h"}}.items():
        (folder / f"parked/{name}.json").write_text(json.dumps({"unit": unit(job, BART, 2).name, "attempts": [attempt]}))
    found = at(job, 1001)
    said = " | ".join(found.warnings)
    assert "2 files under results/ are no unit's" in said and "1 result files can not be read" in said
    assert "checkpoints/torn.safetensors" in said and "parked/torn.json" in said
    assert all(f"parked/{name}.json" in said for name in ("bare", "poor", "poorer")) and not found.parked
    assert found.cells[BART].done == 2 and found.cells[BART].attacked == rate([1, 1, 1])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "holds no campaign.yaml"),
        ("", "damaged or of another program"),
        ("campaign: {name: x\n", "damaged or of another program"),
        ("- 1\n- 2\n", "damaged or of another program"),
        ("campaign: {name: x}\nplanned: {c: {units: 1}}\n", "damaged or of another program"),
        ("campaign: {name: x}\nshards: []\n", "earlier version"),
    ],
)
def test_a_store_that_is_none_is_refused_in_one_line(tmp_path, barrage, content, named):
    if content is not None:
        (tmp_path / "campaign.yaml").write_text(content)
    with pytest.raises(BadInput, match=named):
        Reader(str(tmp_path)).status()
    code, out, err = barrage("status", tmp_path)
    assert code == 2 and len(err.splitlines()) == 1 and named in err and out == ""


def test_a_store_with_nothing_done_yet(job):
    found = at(job, 1000)
    assert found.seconds_left is None and found.throughput is None and not found.stalled and found.written is None
    assert found.cells[BART].device_seconds_left is None and found.total("device_seconds_left") is None


def test_a_store_of_before_the_plan_was_written_gets_it_by_a_run(job, pattern):
    path = Path(job.store) / "campaign.yaml"
    whole = path.read_text()
    kept = {name: part for name, part in yaml.safe_load(whole).items() if name not in ("planned", "sha256")}
    path.write_text(yaml.safe_dump(kept, sort_keys=False))
    job.write_down()
    assert path.read_text() == whole and at(job, 1000).cells[BART].units == 3


def test_it_needs_no_torch_and_no_cluster(job):
    code = "import sys; from pipeline.__main__ import app; app(standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "status", job.store], capture_output=True, text=True, check=True)
    assert "0/6 units" in done.stdout
    assert not set(done.stderr.split()) & {"torch", "ray", "webdataset", "numba", "bart", "pipeline.campaigns.job"}


def test_prices_of_cells_without_rows_come_from_their_checkpoints(job):
    handmade.checkpointed(job, unit(job, NONE), at=1000, step=3, seconds=6.0)
    found = at(job, 1001)
    assert found.cells[NONE].device_seconds_left == pytest.approx(4.0 * 6.5)
    weights = cost.weight(6, 2, 0), cost.weight(18, 8, 2)
    assert found.cells[BART].device_seconds_left == pytest.approx(8 * 4.0 * weights[1] / weights[0])
    assert found.seconds_left == pytest.approx(found.total("device_seconds_left")), "one worker writes checkpoints"
