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

    one = torch.ones(1, 3, dtype=torch.int64)
    every = torch.cat([images(91, 93)[4:], _few_values(91, 93), _small_values(91, 93)])  # larger than a block
    some = {"bins": torch.tensor([[40, 41, 256], [255, 97, 256], [40, 200, 256], [256, 128, 64]])}
    _assert_equal("hist_eq", every, some, largest=1.2e-7)

    for low, high, x in ((1, 96, every[:1]), (4, 99, every[2:3]), (3, 98, every[3:])):
        params = {"on": torch.tensor([[True, True, True]]), "low": low * one, "high": high * one}
        _assert_equal("contrast_stretch", x, params)
    ends = torch.tensor([[1, 2, 4]]), torch.tensor([[99, 97, 98]])
    mixed = {"on": torch.tensor([[True, False, True]]), "low": ends[0], "high": ends[1]}
    for size in ((32, 37), (33, 32)):
        _assert_equal("contrast_stretch", images(*size)[4:5], mixed)


if __name__ == "__main__":
    _compare()
