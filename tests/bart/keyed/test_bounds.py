"""Check that pixels at the bounds of a stranger's clamp can move, that no value changes, and that others do as torch says."""

import pytest
import torch

from bart.keyed import Code, Keyed
from bart.keyed.bounds import StraightThrough
from tests.support.stochastic import Before, mirror, run

EDGES = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5])
BETWEEN = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0])
EARLIER = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)
"""Earlier releases of torch, 2.6 among them, have the derivative 1 at the bounds themselves."""

FORMS = {
    "Tensor.clamp": lambda x: x.clamp(0, 1),
    "by name": lambda x: x.clamp(min=0, max=1),
    "torch.clamp": lambda x: torch.clamp(x, 0.0, 1.0),
    "torch.clip": lambda x: torch.clip(input=x, min=0, max=1),
    "clip": lambda x: x.clip(0, 1),
    "tensors": lambda x: x.clamp(torch.tensor(0.0), torch.tensor(1.0)),
    "a tensor and a number": lambda x: torch.clamp(x, min=torch.tensor(0.0), max=None).clamp(max=1),
    "clamp_": lambda x: (x + 0).clamp_(0, 1),
    "one-sided": lambda x: x.clamp_min(0).clamp_max(1),
    "in place, one-sided": lambda x: (x + 0).clamp_(min=0).clamp_max_(1),
}


def slope(form):
    x = EDGES.clone().requires_grad_()
    y = form(x)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_derivative_is_one_up_to_the_bounds(form):
    with StraightThrough():
        y, found = slope(form)
    assert torch.equal(found, BETWEEN) and torch.equal(y, EDGES.clamp(0, 1))
    assert EARLIER or not torch.equal(slope(form)[1], BETWEEN), "torch gives the same: the mode is not needed any more"


def test_what_is_no_clamp_of_an_image_stays_torchs():
    with StraightThrough():
        assert torch.arange(5).clamp(1, 3).tolist() == [1, 1, 2, 3, 3]
        assert torch.tensor([-1.0, 2.0]).clamp(0, 1).tolist() == [0, 1]
        bound = torch.tensor(0.0, requires_grad=True)
        x = EDGES.clone().requires_grad_()
        (found,) = torch.autograd.grad(x.clamp(min=bound).sum(), bound)
        assert found > 0  # the derivative in the bound


@pytest.mark.parametrize("straight", [True, False])
def test_it_can_be_switched_off(straight):
    module = Before(lambda self, x: (x + 0 * torch.rand_like(x)).clamp(0, 1))
    x = torch.ones(2, 3, 32, 32)
    _, found = run(Keyed(straight), module, x, mirror(2))
    assert bool((found != 0).any()) is (straight or EARLIER)


def test_a_checkpointed_clamp_is_straight_too():
    """It runs again in the backward pass, even where nothing random does."""
    from torch.utils.checkpoint import checkpoint

    def saving(self, x):
        return checkpoint(lambda y: y.clamp(0, 1).square(), x + 0 * torch.rand_like(x), use_reentrant=False)

    module = Before(saving)
    assert Keyed().habits(Code(module, (module,)), torch.ones(1, 3, 32, 32)).again
    _, found = run(Keyed(), module, torch.ones(2, 3, 32, 32), mirror(2))
    assert (found != 0).any()
