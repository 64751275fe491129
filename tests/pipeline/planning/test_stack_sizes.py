"""Probing the stack, with a device that is made up, and halving it, with memory that is."""

import threading

import numpy as np
import pytest
import torch

import pipeline.campaigns.attempt.unit
from bart import Classifier
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from pipeline.planning.stack_sizes import LEAST, MOST, out_of_memory, probe
from pipeline.store.rows import results
from pipeline.store.schema import MEASURED
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran


def device(fits, full):
    """Seconds of a device that takes as long for any stack up to `full` draws, and whose memory ends beyond `fits`."""
    tried = []

    def seconds(stack):
        tried.append(stack)
        if stack > fits:
            raise torch.cuda.OutOfMemoryError("no room")
        return max(1.0, stack / full)

    return seconds, tried


@pytest.mark.parametrize(
    ("fits", "full", "found"), [(10**6, 128, 128), (64, 10**6, 64), (10**6, 10**6, MOST), (8, 64, LEAST // 2)]
)
def test_the_stack_grows_while_it_helps_and_fits(fits, full, found):
    seconds, tried = device(fits, full)
    assert probe(seconds) == found
    assert tried == [LEAST * 2**i for i in range(len(tried))]


def test_no_gain_ends_the_search():
    tried = []

    def seconds(stack):
        tried.append(stack)
        return stack * 0.01  # always the same rate

    assert probe(seconds) == LEAST and tried == [LEAST, 2 * LEAST]


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
