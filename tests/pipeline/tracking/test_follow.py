"""What trackers are told, and that nothing they do is noticed by the campaign."""

import shutil
import signal
import time

import pytest

from pipeline.campaigns.job import opened
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.store.mixing import batches
from pipeline.tracking import follower, table
from tests.support import tiny
from tests.support.campaigns import rows
from tests.support.tracking.runs import followed, half_done, two_runs, units
from tests.support.tracking.trackers import told


@pytest.fixture(autouse=True)
def trackers(monkeypatch):
    """Allow the strange trackers, and give each the time that a busy machine takes."""
    monkeypatch.setattr(follower, "PATIENCE", 300.0)
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support.tracking.trackers,tests.support.tiny")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, finished):
    """A store whose run was tracked, each unit named twice; and the file of what the tracker was told."""
    place = tmp_path_factory.mktemp("tracked")
    store = shutil.copytree(finished(), place / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARRAGE_ALLOW_MODULES", "tests.support.tracking.trackers,tests.support.tiny")
        patch.setattr(follower, "PATIENCE", 300.0)
        names = [*units(store), "net-none-pgd--photos-000000--nothing", *units(store)]
        said = followed(store, f"recording:{place / 'told'}", names)
    assert said == [f"tracked by recording: the file {place / 'told'}"]
    return store, place / "told"


def test_figures_are_those_of_the_table(tracked):
    """The tracker adds units one by one; the table reads all rows at once."""
    store, file = tracked
    found = {name: value for line in told(file) for name, value in line.get("log", {}).items()}
    lines = summaries.lines(batches(str(store), summaries.columns(RULES)), list(RULES), opened(str(store)).scopes())
    assert len(lines) == 8
    for line in lines:
        for side, rate in (("clean", line.clean_top1), ("attacked", line.adv_top1)):
            names = [f"{line.cell}/{side}_{line.rule}{end}" for end in ("", "_low", "_high")]
            assert [found[name] for name in names] == pytest.approx([rate.value, rate.low, rate.high], abs=1e-9)
        assert (found[f"{line.cell}/images_done"], found[f"{line.cell}/draw_gradients"]) == (8, line.draw_gradients)
    assert (found["campaign/images_done"], found["campaign/images_failed"], found["campaign/units_parked"]) == (16, 0, 0)
    assert (found["campaign/rate"], found["campaign/seconds_left"]) == (2.5, 60)


def test_a_unit_counts_once_however_often_it_is_named(tracked):
    assert [line["images"] for line in told(tracked[1]) if "log" in line][-1] == 16


def test_settings_are_those_of_the_campaign_file(tracked):
    store, file = tracked
    run = told(file)[0]["start"]
    assert (run["name"], run["destination"]) == ("tiny", str(file))
    expected = {"attacks.pgd.eps": 8 / 255, "attacks.pgd.steps": 6, "evaluation_draws": 4, "cells.0.defense": "none, bart2"}
    assert expected.items() <= run["settings"].items() and run["settings"]["store"] == str(store)


def test_a_resumed_run_goes_on_under_the_same_id_and_never_goes_back(copied, tmp_path):
    store, file = copied(), tmp_path / "told"
    two_runs(store, f"recording:{file}")
    found = told(file)
    starts, images = [line["start"] for line in found if "start" in line], [line["images"] for line in found if "log" in line]
    assert len(starts) == 2 and starts[0]["id"] == starts[1]["id"] and starts[0]["id"].startswith("tiny-")
    assert images == sorted(images) and images[-1] == 16 and 0 < images[0] < 16
    assert [line["end"] for line in found if "end" in line] == [143, 0]


def test_parked_units_are_counted_until_they_are_done(copied, tmp_path):
    store, file, said = copied(), tmp_path / "told", []
    with half_done(store) as (_, later):
        first = follower.Follower(f"recording:{file}", str(store), said.append)
        for name in later[:2]:
            first.tell(parked=name)
        first.ask_to_end(1)
        first.end()
    assert told(file)[-2]["log"]["campaign/units_parked"] == 2 and told(file)[-1] == {"end": 1}


STRANGE = {"loud": 300.0, "broken": 300.0, "away": 300.0, "leaving": 300.0, "hanging": 5.0, "stopped": 5.0}
"""Trackers, and the seconds that they get at the end."""


def test_whatever_a_tracker_does_is_one_line_at_most(copied, tmp_path, monkeypatch):
    store, said, started, began = copied(), {name: [] for name in STRANGE}, {}, time.monotonic()
    for name, patience in STRANGE.items():
        monkeypatch.setattr(follower, "PATIENCE", patience)
        track = f"{'recording' if name == 'stopped' else name}:{tmp_path / name}"
        started[name] = follower.Follower(track, str(store), said[name].append)
    started["stopped"]._process.send_signal(signal.SIGSTOP)  # it reads nothing: the pipe fills
    for one in started.values():
        for name in units(store) * 2000:  # more than a pipe holds
            one.tell(unit=name, pace={})
        one.ask_to_end(0)
    assert time.monotonic() - began < 30, "the driver waited for a tracker"
    for one in started.values():
        one.end()
        assert one._process.poll() is not None
    warned = {name: [line for line in lines if line.startswith("warning: ")] for name, lines in said.items()}
    assert {name: len(lines) for name, lines in warned.items()} == dict.fromkeys(STRANGE, 1) | {"loud": 0}
    assert "(ConnectionError: no route to host); the campaign goes on" in warned["broken"][0]
    assert f"(OSError: {tmp_path / 'away'} is down)" in warned["away"][0]
    assert "did not end within 5 s" in warned["hanging"][0]
    assert "exit code 3" in warned["leaving"][0] and "exit code -9" in warned["stopped"][0]
    assert told(tmp_path / "loud")[1] == {"read": ""} and told(tmp_path / "loud")[-1] == {"end": 0}


def test_a_driver_that_is_killed_leaves_a_run_that_ended(copied, tmp_path):
    """Signals of the terminal reach the driver alone; the end of the pipe ends the tracked run."""
    store, file = copied(), tmp_path / "told"
    one = follower.Follower(f"recording:{file}", str(store), lambda line: None)
    one.tell(unit=units(store)[0], pace={})
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    for number in (signal.SIGINT, signal.SIGTERM):
        one._process.send_signal(number)
    one._messages.put(None)
    one.end()
    assert one._process.returncode == 0 and told(file)[-1] == {"end": 143}


def test_a_tracked_campaign_has_the_rows_of_any_other(barrage, write, pattern, finished, tmp_path):
    store, file = tmp_path / "store", tmp_path / "told"
    words = ["run", write(tiny.campaign(pattern)), "--here", "--store", store]
    code, _, err = barrage(*words, "--track", f"recording:{file}", "--track", "away:server")
    assert code == 0 and err.count("warning: ") == 1 and "warning: --track away:server failed" in err
    assert rows(store) == rows(finished()) and told(file)[-1] == {"end": 0} and told(file)[-2]["images"] == 16
    assert {"campaign/rate", "campaign/seconds_left"} <= told(file)[-2]["log"].keys()
    before = file.read_text()
    assert barrage(*words, "--track", f"recording:{file}")[0] == 0 and file.read_text() == before, "nothing was left to do"


@pytest.mark.parametrize(
    ("track", "said"),
    [
        (["tensorbord"], "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        (["absent:x"], "--track absent:x needs nowhere, which is not installed: pip install nowhere"),
        (["recording:a", "recording:b", "recording:a"], "--track recording:a is given twice: give each destination once"),
    ],
)
def test_a_tracker_that_cannot_be_is_refused_before_any_work(barrage, write, pattern, tmp_path, track, said):
    options = [option for text in track for option in ("--track", text)]
    code, _, err = barrage("run", write(tiny.campaign(pattern)), "--here", "--store", tmp_path / "store", *options)
    assert code == 2 and err.splitlines() == [f"barrage: {said}"] and not (tmp_path / "store").exists()


def test_a_built_in_tracker_names_its_extra(monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'barrage\[mlflow\]'"):
        table.refuse_missing(["mlflow"])
