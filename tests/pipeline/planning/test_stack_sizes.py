"""Choosing the stack for a device that is made up, and halving it, with memory that is."""

import threading

import numpy as np
import pytest
import torch

import pipeline.campaigns.attempt.unit
from bart import Classifier
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from pipeline.planning.stack_sizes import MOST, PIXELS, SHARE, TRIED, Cuda, Room, busy, fitting, out_of_memory
from pipeline.store.rows import results
from pipeline.store.schema import MEASURED
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran


class Device:
    """A GPU of some bytes, of which other processes hold some; a stack takes a fixed part and some for each draw."""

    def __init__(self, total, each, fixed=0, others=0):
        self.total, self.each, self.fixed, self.others, self.tried = total, each, fixed, others, []

    def room(self):
        return Room(self.total - self.others, self.total)

    def work(self, stack):
        """Compute a stack, or run out of memory."""
        self.tried.append(stack)
        self.taken = self.fixed + self.each * stack
        if self.taken > self.room().free:
            raise torch.cuda.OutOfMemoryError("no room")

    def peak(self, work):
        work()
        return self.taken


GB = 10**9


@pytest.mark.parametrize("total", [16 * GB, 80 * GB, 141 * GB])
@pytest.mark.parametrize("each", [10**6, 35 * 10**6, 10**9])
@pytest.mark.parametrize("fixed", [0, GB])
@pytest.mark.parametrize("others", [0.0, 0.5, 0.75])
def test_one_try_finds_a_stack_that_fits_and_fills_the_memory(total, each, fixed, others):
    device = Device(total, each, fixed, int(others * total))
    stack = fitting(device.work, device, 512)
    tries = len(device.tried)
    device.work(stack)  # fits
    if fixed + TRIED * each <= device.room().free:
        assert tries == 1, device.tried
        wanted = min(512, int(SHARE * device.room().free) // (each + fixed // TRIED + 1))
        assert wanted - 1 <= stack <= max(1, int(SHARE * device.room().free) // each)


def test_a_stack_that_keeps_the_device_busy_is_enough():
    assert [busy(side, PIXELS) for side in (32, 224, 512)] == [MOST, 512, 98]
    device = Device(80 * GB, 1000)
    assert fitting(device.work, device, 98) == 98


def test_two_processes_share_a_device():
    """Whether or not the second one starts while the first one holds its stack, both stacks fit together."""
    alone = Device(80 * GB, 10**9)
    half = fitting(alone.work, alone, 512, gpus=0.5)
    assert 2 * half * alone.each <= alone.total < 3 * half * alone.each
    beside = Device(80 * GB, 10**9, others=half * alone.each)
    second = fitting(beside.work, beside, 512, gpus=0.5)
    assert (half + second) * alone.each <= alone.total and second >= 0.8 * half
    greedy = Device(80 * GB, 10**9, others=70 * GB)  # of another program
    assert fitting(greedy.work, greedy, 512, gpus=0.5) == 8


def test_what_does_not_fit_is_halved_until_it_does():
    device = Device(GB, 90 * 10**6)
    assert fitting(device.work, device, 512) == 8
    assert device.tried == [64, 32, 16, 8]
    tiny = Device(10, 100)
    assert fitting(tiny.work, tiny, 512) == 1 and tiny.tried[-1] == 1


def test_a_cuda_device_is_asked_for_free_memory_and_the_peak_of_the_second_run(monkeypatch):
    """PyTorch's counters are pretended: the first run takes more, to compile; others have half of the memory."""
    taken = {"now": 2 * GB, "peak": 0, "kept": 5 * GB}

    def work():
        more = 3 * GB if taken["kept"] == 5 * GB else GB
        taken.update(peak=max(taken["peak"], taken["now"] + more), kept=6 * GB)

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: taken.update(kept=0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40 * GB - taken["now"] - taken["kept"], 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: taken["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: taken["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: taken.update(peak=taken["now"]))
    device = Cuda(torch.device("cuda"))
    assert device.peak(work) == GB
    assert device.room() == Room(38 * GB, 80 * GB)


def test_another_error_ends_the_search():
    def broken(stack):
        raise RuntimeError("shapes 3 and 4 do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fitting(broken, Device(GB, 1), 512)


def no_room():
    """What is raised where memory ends, by where."""
    with pytest.raises(RuntimeError) as host:
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(MemoryError) as numpy:
        np.empty(1 << 60, dtype=np.uint8)
    library = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    return {"device": torch.cuda.OutOfMemoryError("made up"), "host": host.value, "numpy": numpy.value, "library": library}


def test_what_is_out_of_memory_and_what_is_not():
    assert all(out_of_memory(error) for error in no_room().values())
    others = (RuntimeError("shapes 3 and 4 do not match"), ValueError("out of memory"), OSError(28, "No space left on device"))
    assert not any(out_of_memory(error) for error in others)


@pytest.mark.parametrize("kind", ["device", "host", "numpy", "library"])
@pytest.mark.parametrize("place", ["steps", "verdicts", "every pass"])
def test_memory_that_does_not_suffice_halves_the_stack_and_changes_no_row(tmp_path, pattern, monkeypatch, kind, place):
    """`every pass` has no room for more than 8 images in the classifier, wherever it is asked: targets, steps, verdicts."""
    content = tiny.campaign(pattern, workers={"stack": 16})
    content["data"] = content["data"] | {"limit": 3}
    content["attacks"] = {"pgd": content["attacks"]["pgd"] | {"goal": "least_likely", "steps": 3}}
    free, _ = ran(content, tmp_path / "free")
    tried, error, room = [], no_room()[kind], 8 if place == "every pass" else 4

    def tight(function, size):
        def call(*arguments, **options):
            tried.append(size(arguments))
            if tried[-1] > room:
                raise error
            return function(*arguments, **options)

        return call

    if place == "steps":
        monkeypatch.setattr(
            pipeline.campaigns.attempt.unit.lanes, "step", tight(pipeline.campaigns.attempt.unit.lanes.step, lambda a: a[3])
        )
    elif place == "verdicts":
        monkeypatch.setattr(
            pipeline.campaigns.attempt.unit, "judge", tight(pipeline.campaigns.attempt.unit.judge, lambda a: a[4])
        )
    else:
        for name in ("forward", "fast"):
            monkeypatch.setattr(Classifier, name, tight(getattr(Classifier, name), lambda a: len(a[1])))
    short, outcome = ran(content, tmp_path / "short")
    assert outcome.exit_code == 0 and max(tried) > 4
    if place != "every pass":
        assert tried[:3] == [16, 8, 4] and set(tried[3:]) <= {4, 8, 16}

    def decided(job):
        return results(job.store).drop_columns([*MEASURED, *ROUNDED]).to_pylist()

    assert decided(free) == decided(short)


def test_what_does_not_fit_at_all_fails_and_other_errors_halve_nothing(pattern, tmp_path):
    job = prepare(parse(tiny.campaign(pattern, workers={"stack": 16}), "c"), str(tmp_path / "store"))
    worker, cell = Worker(job, torch.device("cpu"), threading.Event()), next(iter(job.cells.values()))
    tried = []

    def never(stack, error):
        tried.append(stack)
        raise error

    with pytest.raises(RuntimeError, match="shapes"):
        worker.fitting(cell, lambda stack: never(stack, RuntimeError("shapes")))
    assert tried == [16]
    with pytest.raises(MemoryError):
        worker.fitting(cell, lambda stack: never(stack, MemoryError()))
    assert tried == [16, 16, 8, 4, 2, 1]
