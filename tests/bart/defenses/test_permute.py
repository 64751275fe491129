"""Check how stacks are moved: an order, its inverse, the clip, and the derivative; the kernel against the eager code."""

import pytest
import torch

from bart.defenses.permute import Permutation, clip_and_permute, rearranged
from tests.support.contracts.kernels import TARGETS, assert_compiles, assert_interpreted


def example():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 3, 37, 41, generator=generator) * 1.4 - 0.2
    x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    order = torch.tensor([3, 0, 4, 1, 2])
    return x, Permutation(order, order.argsort()), torch.randn(x.shape, generator=generator)


def test_images_are_clipped_and_put_into_order():
    x, permutation, _ = example()
    assert torch.equal(clip_and_permute(x, permutation), x.clamp(0, 1)[permutation.gather])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "plain"])
def test_the_gradient_goes_back_to_where_the_image_came_from_unless_it_was_clipped(dtype):
    x, permutation, cotangent = example()
    x, cotangent = x.to(dtype), cotangent.to(dtype)
    leaf = x.clone().requires_grad_()
    (product,) = torch.autograd.grad(clip_and_permute(leaf, permutation), leaf, cotangent)
    inside = (x >= 0) & (x <= 1)
    assert inside[0, 0, 0, :2].all()
    assert torch.equal(product, cotangent[permutation.scatter] * inside)


def test_the_interpreted_kernel_equals_the_eager_code():
    pytest.importorskip("triton")
    assert_interpreted(__name__)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "eager"])
def test_stacks_are_rearranged_as_if_they_were_one(dtype):
    generator = torch.Generator().manual_seed(1)
    whole = (torch.rand(7, 3, 5, 4, generator=generator, dtype=dtype) * 2 - 0.5).requires_grad_()
    wide = torch.rand(2, 3, 5, 8, generator=generator, dtype=dtype)
    wide[..., ::2] = whole.detach()[3:5]
    gather = torch.randperm(7, generator=generator)
    permutation = Permutation(gather, gather.argsort())
    stacks = [whole[:3], wide[..., ::2].requires_grad_(), whole[:0], whole[5:]]  # one that is not contiguous, one of no image
    pieces = rearranged(stacks, permutation, [1, 0, 4, 2])
    assert [len(piece) for piece in pieces] == [1, 0, 4, 2]
    truth = clip_and_permute(whole, permutation)
    assert torch.equal(torch.cat(pieces), truth)
    cotangent = torch.rand(7, 3, 5, 4, generator=generator, dtype=dtype)
    (expected,) = torch.autograd.grad(truth[1:], whole, cotangent[1:], retain_graph=True)
    found = torch.autograd.grad(torch.cat(pieces[1:]), [whole, stacks[1]], cotangent[1:])  # nothing depends on the first piece
    found[0][3:5] = found[1]
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernel_compiles(capability):
    pytest.importorskip("triton")
    from bart.gpu_kernels.common import permute as kernel

    def function():
        x, permutation, cotangent = example()
        y = kernel.clip_and_permute(x.requires_grad_(), *permutation)
        torch.autograd.grad(y, x, cotangent)

    assert_compiles(function, capability)


def _compare() -> None:
    from bart.gpu_kernels.common import permute as kernel

    x, permutation, cotangent = example()
    assert torch.equal(kernel.clip_and_permute(x, *permutation), clip_and_permute(x, permutation))
    products = []
    for function in (
        lambda leaf: kernel.clip_and_permute(leaf, *permutation),
        lambda leaf: clip_and_permute(leaf, permutation),
    ):
        leaf = x.clone().requires_grad_()
        products.append(torch.autograd.grad(function(leaf), leaf, cotangent)[0])
    assert torch.equal(*products)
    x[1, 2, 3, 4] = torch.nan
    assert kernel.clip_and_permute(x, *permutation).isnan().sum() == 1


if __name__ == "__main__":
    _compare()
