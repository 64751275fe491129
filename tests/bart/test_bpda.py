import pytest
import torch

from bart.backward import straight_through
from bart.bpda import POLICIES, combo, identity
from bart.transforms import TRANSFORMS
from bart.types import Gradient, Transform
from tests.bart.transforms.checks import keys, photographs

SIZE = (32, 32)


def square(gradient):
    """x squared, declared to have a gradient or none."""

    def apply(x, params):
        return x.detach().square() if gradient is Gradient.NONE else x.square()

    return Transform("square", "powers", lambda keys, size: {}, apply, gradient)


def test_straight_through_is_y_bit_for_bit_with_the_gradient_of_x():
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = torch.rand(2, 3, 4, 4)
    y[0, 0, 0] = torch.tensor([-0.0, 1e-45, torch.inf, torch.nan])
    weight = torch.randn(2, 3, 4, 4)
    out = straight_through(x, y)
    assert torch.equal(out.view(torch.int32), y.view(torch.int32))
    (gradient,) = torch.autograd.grad((out.nan_to_num() * weight).sum(), x)
    assert torch.equal(gradient, weight * y.isfinite())


def test_straight_through_sends_nothing_into_y():
    x, y = (torch.rand(5, requires_grad=True) for _ in range(2))
    gradients = torch.autograd.grad(straight_through(3 * x, 7 * y).sum(), (x, y), allow_unused=True)
    assert torch.equal(gradients[0], torch.full((5,), 3.0)) and gradients[1] is None


@pytest.mark.parametrize("gradient", list(Gradient))
def test_identity_ignores_the_transforms_own_gradient(gradient):
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = identity(square(gradient), x, {})
    assert torch.equal(y, x.square())
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(x))


@pytest.mark.parametrize("gradient", list(Gradient))
def test_combo_takes_autograd_where_there_is_one_and_else_the_identity(gradient):
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = combo(square(gradient), x, {})
    assert torch.equal(y, x.square())
    truth = torch.ones_like(x) if gradient is Gradient.NONE else 2 * x
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], truth)


def test_policies_by_name():
    assert POLICIES["combo"] is combo and POLICIES["identity"] is identity


@pytest.mark.parametrize("transform", list(TRANSFORMS.values()), ids=list(TRANSFORMS))
def test_every_policy_keeps_the_true_value_and_gives_every_transform_a_gradient(transform):
    x = photographs(*SIZE)[:2]
    params = transform.draw(keys(2), SIZE)
    truth = transform.apply(x, params)
    for name, policy in POLICIES.items():
        leaf = x.clone().requires_grad_()
        y = policy(transform, leaf, params)
        assert torch.equal(y.detach(), truth), name
        (gradient,) = torch.autograd.grad(y.sum(), leaf)
        assert gradient.isfinite().all() and (gradient != 0).any(), name
        if name == "identity" or (name == "combo" and transform.gradient is Gradient.NONE):
            assert torch.equal(gradient, torch.ones_like(x)), name
