"""Check equalised and stretched channels: the kernels against the eager code, in the interpreter; and compile them."""

import pytest
import torch

from bart import TRANSFORMS, dispatch
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images
from tests.support.images import photographs

pytest.importorskip("triton")


def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize("name", ("hist_eq", "contrast_stretch"))
def test_kernels_compile(name, capability):
    assert_transform_compiles(name, capability)


def _assert_equal(name, x, params, largest=0.0):
    """Compare values, and gradients where there are any, of a transform with given parameters."""
    transform, apply = TRANSFORMS[name], dispatch._load(dispatch.KERNELS[name])
    ours, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, truth = apply(ours, params), transform.eager(twin, params)
    assert y.data_ptr() != ours.data_ptr() and y.isfinite().all()
    assert (y - truth).abs().max() <= largest, f"{name}: off by {(y - truth).abs().amax((2, 3)).tolist()}"
    if truth.requires_grad:
        generator = torch.Generator().manual_seed(0)
        cotangent = torch.randn(x.transpose(2, 3).shape, generator=generator).transpose(2, 3)  # not contiguous
        (product,) = torch.autograd.grad(y, ours, cotangent)
        (wanted,) = torch.autograd.grad(truth, twin, cotangent)
        assert torch.equal(product, wanted), f"{name}: gradient"


def _few_values(height, width):
    """Return planes (1, 3, height, width) where ranks meet ties: two values, three, and one except for the last pixel."""
    x = photographs(height, width, 1)
    x[0, 0] = (x[0, 0] > 0.5).float()
    x[0, 1] = (x[0, 1] * 2).round() / 2
    x[0, 2], x[0, 2, -1, -1] = 0.25, 1.0
    return x


def _small_values(height, width):
    """Return planes (1, 3, height, width) with float32's smallest numbers, with a range of rounding errors, and floats."""
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))
    x[0, 0] *= 1e-39
    x[0, 1] = 0.7 + 1e-7 * x[0, 1]
    return x


def _compare() -> None:
    assert_twin("hist_eq", (40, 51), largest=1.2e-7, seeds=(0,))
    assert_twin("contrast_stretch", (40, 51), largest=0, gradient=0, seeds=(0,))

    every = torch.cat([images(91, 93)[4:], _few_values(91, 93), _small_values(91, 93)])  # larger than a block
    some = {"bins": torch.tensor([[40, 41, 256], [255, 97, 256], [40, 200, 256], [256, 128, 64]])}
    _assert_equal("hist_eq", every, some, largest=1.2e-7)

    for each, low, high, x in ((False, 1.0, 96.0, every[:1]), (True, 4.0, 99.0, every[2:3]), (True, 3.1, 98.7, every[3:])):
        ends = {"low": torch.full((1, 3), low), "high": torch.full((1, 3), high)}
        _assert_equal("contrast_stretch", x, {"per_channel": torch.tensor([each]), **ends})
    low, high = torch.tensor([[1.0, 2.5, 4.0]]).repeat(2, 1), torch.tensor([[99.0, 97.2, 98.0]]).repeat(2, 1)
    for size in ((32, 37), (33, 32)):
        each = {"per_channel": torch.tensor([True, False]), "low": low, "high": high}
        _assert_equal("contrast_stretch", images(*size)[4:], each)
    flat = torch.full((2, 3, 32, 32), 0.3)
    flat[1, 2] = 0.6
    flat[:, :, 0, 0] = 1.0
    _assert_equal("contrast_stretch", flat, {"per_channel": torch.tensor([False, True]), "low": low, "high": high})


if __name__ == "__main__":
    _compare()
