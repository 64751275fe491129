"""Checkpoints of attempts that know nothing of each other: none is lost to an older one, all are gone after the commit."""

import threading
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.errors import Drained
from pipeline.execution import LocalExecutor
from pipeline.store import checkpoints
from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny

NAME = "checkpoints/unit.safetensors"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def attempt(store):
    """An attempt that has looked at what is there."""
    made = Attempts(store, NAME)
    made.furthest("unit", "cell")
    return made


def save(attempt, step, unit="unit", identity="cell"):
    attempt.save(Header(unit, identity, step, 10, 1, 0.0), {"x": torch.full((1,), float(step))})


def step(store):
    """The step that the next attempt goes on from, and its tensor."""
    found = Attempts(store, NAME).furthest("unit", "cell")
    return found and (found[0].step, float(found[1]["x"]))


def files(store):
    return sorted(path.name for path in (Path(store.url) / "checkpoints").glob("*"))


def test_what_wakes_again_takes_nothing_from_its_successor(store):
    zombie = attempt(store)
    save(zombie, 2)
    successor = attempt(store)
    save(successor, 5)
    save(zombie, 3)
    assert step(store) == (5, 5)
    save(successor, 6)
    save(zombie, 4)
    assert step(store) == (6, 6)


def test_what_wakes_again_before_its_first_checkpoint_takes_nothing_either(store):
    zombie, successor = attempt(store), attempt(store)
    save(successor, 5)
    save(zombie, 1)
    assert step(store) == (5, 5) and len(files(store)) == 2
    third = attempt(store)
    save(third, 7)
    save(successor, 6), save(zombie, 2)
    assert step(store) == (7, 7)


def test_two_that_claim_at_once_share_no_file(store, monkeypatch):
    first, second = attempt(store), attempt(store)
    monkeypatch.setattr(Attempts, "_numbers", lambda self: [])  # both listed before either wrote
    save(first, 1), save(second, 2)
    assert len(files(store)) == 2


def test_a_zombie_that_was_ahead_is_gone_on_from(store):
    zombie, successor = attempt(store), attempt(store)
    save(successor, 2)
    save(zombie, 8)
    save(successor, 3)
    assert step(store) == (8, 8)
    third = attempt(store)
    save(third, 9)
    assert step(store) == (9, 9)


def test_one_file_is_left_of_attempts_that_follow_each_other(store):
    for i in range(4):
        save(attempt(store), i)
        assert step(store) == (i, i) and len(files(store)) == 1
    Attempts(store, NAME).clear()
    assert files(store) == [] and step(store) is None


def test_a_damaged_file_falls_back_to_the_next(store):
    zombie, successor = attempt(store), attempt(store)
    save(zombie, 4), save(successor, 5)
    both = [Path(store.url) / "checkpoints" / name for name in files(store)]
    path = next(p for p in both if checkpoints.header(p.read_bytes(), p.name).step == 5)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert step(store) == (4, 4)


def test_checkpoints_of_others_are_left_alone(store):
    mine = attempt(store)
    for other in ("unit.part1", "unit-2", "unitattempt1"):
        save(Attempts(store, f"checkpoints/{other}.safetensors"), 9, unit=other)
    save(Attempts(store, NAME), 8, identity="another cell")
    assert step(store) is None
    save(mine, 1)
    assert step(store) == (1, 1)
    mine.clear()
    assert files(store) == ["unit-2.safetensors", "unit.part1.safetensors", "unitattempt1.safetensors"]


def test_a_run_removes_the_checkpoint_of_a_unit_whose_worker_was_killed_just_after_it_committed(tmp_path, pattern, monkeypatch):
    job = prepare(parse(tiny.campaign(pattern, workers={"checkpoint_seconds": 1e-9}), "c.yaml"), str(tmp_path / "store"))
    first, last = (list(job.units())[i] for i in (0, -1))
    job.write_down()
    list(Worker(job, torch.device("cpu"), threading.Event()).attack(first))
    for unit in (first, last):  # of the last one the next run goes on
        for name in (f"{unit.name}.safetensors", f"{unit.name}.attempt12.safetensors"):
            Store(job.store).create(f"checkpoints/{name}", b"a checkpoint")
    Store(job.store).create("checkpoints/unplanned.safetensors", b"nobody knows of it")

    def drained(worker, unit):
        worker.drain.set()
        raise Drained(unit.name)

    monkeypatch.setattr(Worker, "attack", drained)
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    kept = [f"{last.name}.attempt12.safetensors", f"{last.name}.safetensors", "unplanned.safetensors"]
    assert files(Store(job.store)) == sorted(kept)
    monkeypatch.undo()
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    assert files(Store(job.store)) == ["unplanned.safetensors"]


def test_a_worker_that_sleeps_through_its_unit_changes_no_row_and_leaves_no_file(tmp_path, pattern):
    job = prepare(
        parse(tiny.campaign(pattern, workers={"checkpoint_seconds": 1e-9}), "c"), str(tmp_path / "store")
    ).write_down()
    unit, device = next(job.units()), torch.device("cpu")
    zombie = Worker(job, device, threading.Event()).attack(unit)
    while next(zombie).step < 2:  # asleep, with a checkpoint of step 2
        pass
    drained = Worker(job, device, threading.Event())
    successor = drained.attack(unit)
    while next(successor).step < 4:
        pass
    drained.drain.set()
    with pytest.raises(Drained):
        list(successor)
    assert next(zombie).step == 3, "it writes a checkpoint of step 3"
    third = list(Worker(job, device, threading.Event()).attack(unit))
    assert third[0].step == 5, "it went on from the older checkpoint"
    before = results(job.store).to_pylist()
    *_, last = zombie
    assert last.lost and results(job.store).to_pylist() == before
    assert files(Store(job.store)) == []


def test_a_unit_that_is_committed_already_costs_nothing(tmp_path, pattern):
    job = prepare(parse(tiny.campaign(pattern), "c"), str(tmp_path / "store"))
    unit = next(job.units())
    worker = Worker(job, torch.device("cpu"), threading.Event())
    first, *_ = worker.attack(unit)
    assert isinstance(first, Progress)
    (only,) = worker.attack(unit)
    assert isinstance(only, Finished) and only.lost and only.draw_gradients == 0
