"""Checkpoints beside the attack: it waits for the copy alone, loses no more than is said, and nothing costs an earlier one."""

import signal
import subprocess
import sys
import threading

import pytest
import torch

from pipeline.campaigns.attempt import saving
from pipeline.campaigns.attempt.saving import Pace, Saver, copied
from pipeline.campaigns.attempt.unit import UnitAttempt
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from pipeline.errors import ShardUnusable, StorageError
from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
from tests.support import tiny
from tests.support.campaigns import ran, rows

NAME = "checkpoints/unit.safetensors"
CPU = torch.device("cpu")


def header(step):
    return Header("unit", "cell", step, 10, 1, 0.0)


def furthest(store):
    found = Attempts(store, NAME).furthest("unit", "cell")
    return found and (found[0].step, found[1]["x"])


class Slow(Attempts):
    """Attempts that write once `go` is set."""

    def __init__(self, store):
        super().__init__(store, NAME)
        self.go, self.running, self.most = threading.Event(), 0, 0

    def save(self, header, tensors, watch=lambda: None):
        self.running += 1
        self.most = max(self.most, self.running)
        while not self.go.wait(0.01):
            watch()
        self.running -= 1
        return super().save(header, tensors, watch)


@pytest.mark.parametrize(
    ("cost", "took", "interval"),
    [(0, 0, 120), (1.0, 5, 120), (1.3, 5, 130), (0.1, 20, 200), (9, 9, 600), (0.1, 1000, 600)],
)
def test_an_interval_by_hand(cost, took, interval):
    """One part in a hundred of the worker, one in ten of the store, and five times what was asked for at most."""
    assert Pace(120, cost, took).interval == pytest.approx(interval)
    assert Pace(120, cost, took).far == (interval > 240) and not Pace(0.1, cost, took).far, "seconds apart are nothing to tell"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    thread_time = monotonic


def test_the_attack_goes_on_while_one_save_is_in_flight_and_waits_before_more_is_lost_than_is_said(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(saving, "time", clock)
    attempts = Slow(Store(tmp_path))
    saver = Saver(attempts, 100, CPU)
    clock.now += 99
    assert not saver.due()
    clock.now += 2
    assert saver.due()
    saver.save(header(1), lambda: {"x": torch.ones(3)})
    clock.now += 499
    assert not saver.due(), "one is in flight, and it began less than five times what was asked for ago"
    clock.now += 2
    assert saver.due()
    threading.Timer(0.2, attempts.go.set).start()
    saver.save(header(2), lambda: {"x": torch.full((3,), 2.0)})  # waits for the first
    saver.finish()
    assert attempts.most == 1
    step, x = furthest(Store(tmp_path))
    assert step == 2 and x.tolist() == [2, 2, 2]


@pytest.mark.parametrize(("device", "interval"), [("cpu", 500), ("cuda", 120)])
def test_on_a_cpu_the_thread_that_writes_takes_time_from_the_attack(tmp_path, monkeypatch, device, interval):
    clock = Clock()
    monkeypatch.setattr(saving, "time", clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(Attempts, "save", lambda *arguments: setattr(clock, "now", clock.now + 4))
    saver = Saver(Attempts(Store(tmp_path), NAME), 120, torch.device(device))

    def snapshot():
        clock.now += 1
        return {}

    saver.save(header(1), snapshot)
    saver.finish()
    assert saver.pace == Pace(120, 5 if device == "cpu" else 1, 4) and saver.pace.interval == interval


def test_what_the_attack_does_to_its_tensors_meanwhile_changes_no_checkpoint(tmp_path):
    attempts, x = Slow(Store(tmp_path)), torch.ones(1000)
    saver = Saver(attempts, 1, CPU)
    saver.save(header(1), lambda: copied({"x": x}, CPU))
    x.zero_()
    attempts.go.set()
    saver.finish()
    assert furthest(Store(tmp_path))[1].eq(1).all()


def test_what_a_store_refuses_is_raised_by_the_attack(tmp_path, monkeypatch):
    def full(*arguments):
        raise StorageError("the disk is full")

    monkeypatch.setattr(Attempts, "save", full)
    saver = Saver(Attempts(Store(tmp_path), NAME), 1e-9, CPU)
    saver.save(header(1), dict)
    with pytest.raises(StorageError, match="full"):
        while True:
            saver.due()
    saver.save(header(2), dict)
    with pytest.raises(StorageError, match="full"):
        saver.finish()


def test_a_save_that_nobody_needs_ends_at_once_and_leaves_the_earlier_one(tmp_path):
    attempts = Slow(Store(tmp_path))
    saver = Saver(attempts, 1, CPU)
    attempts.go.set()
    saver.save(header(1), lambda: {"x": torch.ones(3)})
    saver.finish()
    attempts.go.clear()
    saver.save(header(2), lambda: {"x": torch.zeros(3)})
    saver.abandon()
    assert furthest(Store(tmp_path))[0] == 1
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["unit.safetensors"]


@pytest.fixture
def begun(tmp_path, pattern, monkeypatch):
    """An attempt that began to save after its first step, the steps that are written, and `go`, for which that waits."""
    go, save, written = threading.Event(), Attempts.save, []

    def slow(self, head, tensors, watch=lambda: None):
        while not go.wait(0.01):
            watch()
        size = save(self, head, tensors, watch)
        written.append(head.step)
        return size

    monkeypatch.setattr(Attempts, "save", slow)
    content = tiny.campaign(pattern, workers={"checkpoint_seconds": 1e-9})
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store")).write_down()
    attempt = UnitAttempt(Worker(job, CPU, threading.Event()), next(job.units()))
    events = attempt.run()
    while not attempt.saver._thread:
        next(events)
    yield attempt, events, written, go
    go.set()


@pytest.mark.parametrize("error", [ShardUnusable("gone"), RuntimeError("CUDA error: an illegal memory access")])
def test_an_attempt_that_fails_leaves_the_state_that_it_was_saving_to_the_next(begun, monkeypatch, error):
    attempt, events, written, go = begun

    def failing(*arguments):
        threading.Timer(0.2, go.set).start()
        raise error

    monkeypatch.setattr(attempt, "_step", failing)
    with pytest.raises(type(error), match=str(error)):
        list(events)
    assert len(written) == 1 and attempt.saver._thread is None
    assert Attempts(attempt.store, attempt.store.checkpoint(attempt.unit)).furthest(attempt.unit.name, attempt.cell.identity)


def test_an_attempt_that_nobody_waits_for_leaves_no_thread(begun):
    attempt, events, written, _ = begun
    thread = attempt.saver._thread
    events.close()
    assert not thread.is_alive() and not written
    assert not list(attempt.store.list("checkpoints/*"))


KILLED = """
import sys, time, torch
from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
attempts = Attempts(Store(sys.argv[1]), "checkpoints/unit.safetensors")
attempts.save(Header("unit", "cell", 3, 10, 1, 0.0), {"x": torch.arange(5_000_000.)})
count = 0
def watch():
    global count
    count += 1
    if count == 5:  # three pieces were hashed, and one written
        print("in the middle", flush=True)
        time.sleep(60)
attempts.save(Header("unit", "cell", 4, 10, 1, 0.0), {"x": torch.zeros(5_000_000)}, watch)
"""


def test_kill_9_in_the_middle_of_a_save_leaves_the_earlier_one_whole(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any((tmp_path / ".aside").iterdir()), "it was killed too early or too late"
    step, x = furthest(Store(tmp_path))
    assert step == 3 and torch.equal(x, torch.arange(5_000_000.0))


def test_from_every_checkpoint_the_rows_are_the_same(tmp_path, pattern, monkeypatch):
    content = tiny.campaign(pattern, workers={"checkpoint_seconds": 1e-9})
    quiet, _ = ran(tiny.campaign(pattern), tmp_path / "quiet")
    kept, save = [], Attempts.save

    def keep(self, head, tensors, watch=lambda: None):
        kept.append((head, tensors))
        return save(self, head, tensors, watch)

    monkeypatch.setattr(Attempts, "save", keep)
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "first")).write_down()
    unit = next(job.units())
    list(Worker(job, CPU, threading.Event()).attack(unit))
    monkeypatch.undo()
    assert [head.step for head, _ in kept[:-1]] == list(range(1, len(kept)))
    for head, tensors in kept:
        job = prepare(parse(content, "c.yaml"), str(tmp_path / f"from{head.step:g}")).write_down()
        Attempts(Store(job.store), Store(job.store).checkpoint(unit)).save(head, tensors)
        begun = next(Worker(job, CPU, threading.Event()).attack(unit))
        assert begun.step == head.step, "it did not go on from the checkpoint"
        list(Worker(job, CPU, threading.Event()).attack(unit))
        mine = {key: row for key, row in rows(quiet.store).items() if key in rows(job.store)}
        assert len(mine) == unit.images and rows(job.store) == mine
