"""Check, in Triton's interpreter, that replays of whole recorded steps compute what steps that are queued do."""

import sys
from unittest.mock import patch

import pytest
import torch
from torch import nn

from bart import Barrage, Classifier, Defended, Eot, Goal, Mirror, dispatch
from bart.gradient import gradient
from tests.support.contracts.kernels import assert_interpreted, images
from tests.support.images import keys
from tests.support.replays import recording

pytest.importorskip("triton")

SIZE, NAMES, GREYS = (16, 17), ("noise", "hsv", "zoom", "fft", "hist_eq"), ("noise", "jpeg", "zoom", "fft", "hist_eq")


@pytest.mark.parametrize("case", ("same", "spread", "none", "grey"))
def test_interpreted_steps_that_are_replayed_equal_those_that_are_queued(case):
    assert_interpreted(__name__, case)


def _gradients(barrage, eot, seeds, channels):
    """Return gradients and losses for one seed after another, with images and labels of each seed's own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 14 * 15, 5))
    behind = Defended(Classifier(network, [0.5] * channels, [0.5] * channels, SIZE, folded=False), barrage)
    x, label, found = images(*SIZE)[:2, :channels].contiguous(), torch.tensor([1, 4]), []
    for seed in seeds:
        goal = Goal(label.roll(seed), torch.full_like(label, -1))
        found += gradient(behind, x * (1 - seed / 20), goal, Mirror.of(keys(2, seed), "cpu"), eot, 64)
    return found


def _compare(barrage, eot, seeds, spread=5, some=3, channels=3):
    """Compare recorded steps with queued ones, bit for bit; return how often each record was replayed."""
    from bart.gpu_kernels.barrage import graphs, plan

    def holds(self, counts, holds=plan.Plan.holds):
        with torch._C._DisableTorchDispatch():  # numbers of the host, which here is the device too
            return holds(self, counts)

    on_kernels = patch.object(dispatch, "available", lambda x: x.dtype is torch.float32)
    with on_kernels, patch.object(plan.Plan, "holds", holds):
        truth = _gradients(barrage, eot, seeds, channels)
        assert not torch.equal(truth[0], truth[2]), "each step has a gradient of its own"
        with (
            recording() as replays,
            patch.object(graphs, "records", lambda x: True),
            patch.multiple(plan, SPREAD=spread, SOME=some),
        ):
            ours = _gradients(barrage, eot, seeds, channels)
            assert not any(kept.made for kept in graphs._KEPT.values()), "a barrage within a record is not recorded by itself"
    assert all(torch.equal(a, b) for a, b in zip(ours, truth, strict=True))
    return list(map(len, replays))


def _same():
    assert _compare(Barrage(3, NAMES), Eot(2), range(4)) == [2]


def _spread():
    """Draws for which a launch has too few slots are of another kind, never a replay with images left out."""
    found = _compare(Barrage(2, NAMES), Eot(2, fixed_order=True), range(12), spread=1, some=0)
    assert len(found) > 1 and sum(found) > 5, found


def _none():
    assert _compare(Barrage(0, NAMES), Eot(2), range(4)) == [2]


def _grey():
    assert _compare(Barrage(3, GREYS), Eot(2), range(4), channels=1) == [2]


if __name__ == "__main__":
    globals()[f"_{sys.argv[1]}"]()
