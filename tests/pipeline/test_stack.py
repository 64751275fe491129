"""Probing the stack, with a device that is made up."""

import pytest
import torch

from pipeline.stack import LEAST, MOST, probe


def device(fits, full):
    """Seconds of a device that takes as long for any stack up to `full` draws, and whose memory ends beyond `fits`."""
    tried = []

    def seconds(stack):
        tried.append(stack)
        if stack > fits:
            raise torch.OutOfMemoryError("no room")
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
