"""Check the clip's derivative: 1 at both ends, in the compiled CPU code as by the definition."""

import pytest
import torch

from bart.autograd import clip

X = torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.5, torch.nan])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.25, 0.75)])
def test_unclipped_values_keep_their_gradient(dtype, low, high):
    leaf = X.to(dtype).view(2, 1, 3).requires_grad_()
    y = clip(leaf, low, high)
    (gradient,) = torch.autograd.grad(y, leaf, torch.full_like(leaf, 3))
    x = leaf.detach()
    torch.testing.assert_close(y.detach(), x.clamp(low, high), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(gradient, 3 * ((x >= low) & (x <= high)).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_broken_gradient_is_not_hidden_by_the_mask(dtype):
    leaf = X[:5].to(dtype)[:, None].requires_grad_()
    (gradient,) = torch.autograd.grad(clip(leaf), leaf, torch.full_like(leaf, torch.inf))
    assert not gradient.isfinite().any()


def test_a_stack_that_is_not_contiguous():
    leaf = torch.linspace(-1, 2, 12).view(3, 4).T.requires_grad_()
    cotangent = torch.arange(12.0).view(3, 4).T
    (gradient,) = torch.autograd.grad(clip(leaf), leaf, cotangent)
    x = leaf.detach()
    assert torch.equal(clip(leaf).detach(), x.clamp(0, 1)) and torch.equal(gradient, cotangent * ((x >= 0) & (x <= 1)))
