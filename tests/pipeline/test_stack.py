"""Probing the stack, with a device that is made up, and halving it, with memory that is."""

import pytest
import torch

import pipeline.worker
from pipeline.results import results
from pipeline.rows import MEASURED
from pipeline.stack import LEAST, MOST, probe
from tests.pipeline import tiny
from tests.pipeline.test_run import ran


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


def test_memory_that_does_not_suffice_halves_the_stack_and_changes_no_row(tmp_path, pattern, monkeypatch):
    content = tiny.campaign(pattern, workers={"stack": 16})
    content["data"] = content["data"] | {"limit": 3}
    content["attacks"] = {"pgd": content["attacks"]["pgd"] | {"goal": "least_likely"}}
    free, _ = ran(content, tmp_path / "free")
    tried = []

    def tight(function, place):
        def call(*arguments):
            tried.append(arguments[place])
            if arguments[place] > 4:
                raise torch.cuda.OutOfMemoryError("made up")
            return function(*arguments)

        return call

    monkeypatch.setattr(pipeline.worker.lanes, "step", tight(pipeline.worker.lanes.step, 3))
    monkeypatch.setattr(pipeline.worker, "judge", tight(pipeline.worker.judge, 4))
    short, outcome = ran(content, tmp_path / "short")
    assert outcome.exit_code == 0 and tried[:3] == [16, 8, 4] and set(tried[3:]) <= {4, 8, 16}

    def decided(job):
        return results(job.store).drop_columns([*MEASURED, "linf", "l2"]).to_pylist()

    assert decided(free) == decided(short)
