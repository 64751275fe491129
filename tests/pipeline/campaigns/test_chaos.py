"""The short form of `make chaos`: two scenarios, and whether the suite sees what it is there to see."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.ground import Ground
from tests.chaos.scenario import Scenario, Strike, play
from tests.chaos.scene import Scene, Told


@pytest.fixture(scope="module")
def ground():
    with Ground() as made:
        yield made


@pytest.mark.parametrize(
    "strikes",
    [
        (Strike("corrupt checkpoint", 1, 0.1), Strike("SIGSTOP of a node", 3, 0.1)),
        (
            Strike("clock jump", 0, 0.5),
            Strike("kill -9 of a seal", 1, 0),
            Strike("second driver", 1, 0),
            Strike("shard replaced", 3, 0),
            Strike("disk full", 4, 0),
        ),
    ],
)
def test_rows_are_those_of_an_undisturbed_run(ground, strikes):
    told = play(ground, Scenario(17, len(strikes), strikes))
    assert (told.wrong, told.lost, told.doubled, told.different) == ([], 0, 0, 0)
    assert told.struck.keys() >= {strikes[0].fault}, "on a slow machine, later ones may find all done"


def test_scenarios_follow_from_the_seed_and_hold_every_fault_alike():
    drawn = [Scenario.drawn(17, number, 10) for number in range(6 * len(FAULTS))]
    assert drawn == [Scenario.drawn(17, number, 10) for number in range(6 * len(FAULTS))]
    assert drawn[42].strikes != Scenario.drawn(18, 42, 10).strikes
    counts = Counter(strike.fault for scenario in drawn for strike in scenario.strikes)
    assert counts.keys() == FAULTS.keys() and min(counts.values()) >= 6
    assert {len(scenario.strikes) for scenario in drawn} == {1, 2, 3} and len(drawn) >= 100


def _row(cell, key, right):
    return (("adv_correct", str(right)), ("cell", cell), ("image_key", key))


@pytest.mark.parametrize(
    ("found", "lost", "doubled", "different"),
    [
        ([_row("c", "a", 1), _row("c", "b", 2), _row("d", "a", 3)], 0, 0, 0),
        ([_row("c", "a", 1), _row("d", "a", 3)], 1, 0, 0),
        ([_row("c", "a", 1), _row("c", "a", 1), _row("c", "b", 2), _row("d", "a", 3)], 0, 1, 0),
        ([_row("c", "a", 0), _row("c", "b", 2), _row("d", "a", 3)], 0, 0, 1),
        ([_row("c", "a", 0), _row("c", "a", 0), _row("d", "a", 3)], 1, 1, 1),
    ],
)
def test_rows_lost_doubled_and_different_are_counted(monkeypatch, found, lost, doubled, different):
    expected = Counter([_row("c", "a", 1), _row("c", "b", 2), _row("d", "a", 3)])
    monkeypatch.setattr("tests.chaos.scene.decided", lambda store: Counter(found))
    scene = SimpleNamespace(told=Told(), ground=SimpleNamespace(rows=expected), store=None)
    Scene.compare(scene)
    assert (scene.told.lost, scene.told.doubled, scene.told.different) == (lost, doubled, different)


def test_a_second_commit_of_a_unit_is_seen(tmp_path):
    scene = Scene(SimpleNamespace(stores=tmp_path, work=0, once=0, rows=Counter()), random.Random(0), "store")
    path = tmp_path / "store/results/u.parquet"
    path.parent.mkdir(parents=True)
    for data in (b"first", b"first", b"second"):
        path.with_suffix(".aside").write_bytes(data)
        if data == b"second" or not path.exists():
            path.with_suffix(".aside").replace(path)
        scene.watch()
    assert scene.told.wrong == ["u.parquet was committed twice"]
