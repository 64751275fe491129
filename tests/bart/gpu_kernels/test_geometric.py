"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

import sys

import pytest
import torch

from bart import TRANSFORMS, dispatch
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images
from tests.support.images import keys

pytest.importorskip("triton")

TOLERANCE = 1e-5
"""Most of it is the eager twin's: its coordinates are rounded in other places, and to single precision."""


@pytest.mark.slow
@pytest.mark.parametrize("part", ("zoom", "swirl"))
def test_interpreted_kernels_equal_the_eager_code(part):
    assert_interpreted(__name__, part)


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize("name", ("zoom", "swirl"))
def test_kernels_compile(name, capability):
    assert_transform_compiles(name, capability)


def _assert_exact(name: str, size: tuple[int, int], params: dict, value: float, gradient: float) -> None:
    """Check against the eager code in double precision: the largest error of the values, and that of the gradients."""
    count = len(next(iter(params.values())))
    x = images(*size)[:count].contiguous()
    leaf, twin = x.clone().requires_grad_(), x.double().requires_grad_()
    y, truth = dispatch._load(dispatch.KERNELS[name])(leaf, params), TRANSFORMS[name].eager(twin, params)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    (product,), (expected,) = torch.autograd.grad(y, leaf, cotangent), torch.autograd.grad(truth, twin, cotangent.double())
    torch.testing.assert_close(y.double(), truth, atol=value, rtol=0)
    torch.testing.assert_close(product.double(), expected, atol=gradient, rtol=0)


def _assert_bad_gradients_show(name: str) -> None:
    """Check that a NaN comes out in its own image, and in no other."""
    x = images(32, 32)[:3].requires_grad_()
    y = dispatch._load(dispatch.KERNELS[name])(x, TRANSFORMS[name].draw(keys(3), (32, 32)))
    cotangent = torch.ones(x.shape)
    cotangent[0, 0, 31, 31], cotangent[1, 2, 15, 0] = float("nan"), float("inf")
    (product,) = torch.autograd.grad(y, x, cotangent)
    assert (~product.isfinite()).flatten(2).any(2).tolist() == [[True, False, False], [False, False, True], [False] * 3]


def _compare_zoom() -> None:
    """Compare margins: none, those of the drawn range, and far beyond it, each side another."""
    assert_twin("zoom", (32, 33), largest=TOLERANCE, gradient=TOLERANCE, seeds=(0,))
    margin = torch.tensor([[0, 0, 0, 0], [1, 6, 2, 5], [6, 6, 6, 6], [10, 11, 3, 13], [0, 17, 14, 0]])
    _assert_exact("zoom", (50, 35), {"margin": margin}, 2e-7, 1e-6)
    _assert_bad_gradients_show("zoom")


def _compare_swirl() -> None:
    """Compare centres inside, in corners and one past the image; then an image so flat that it is mirrored several times."""
    assert_twin("swirl", (32, 33), largest=TOLERANCE, gradient=TOLERANCE, seeds=(0,))
    strength, radius = torch.tensor([2.0, 2.0, 2.0, 0.7, 2.0]), torch.tensor([31, 40, 1, 25, 31])
    center = torch.tensor([[15, 20], [1, 1], [31, 40], [31, 3], [2, 20]])
    _assert_exact("swirl", (40, 31), {"strength": strength, "center": center, "radius": radius}, 3e-6, 3e-5)
    radius, center = torch.tensor([150, 60]), torch.tensor([[20, 2], [64, 4]])
    _assert_exact("swirl", (5, 64), {"strength": strength[:2], "center": center, "radius": radius}, 3e-6, 3e-5)
    _assert_bad_gradients_show("swirl")


if __name__ == "__main__":
    {"zoom": _compare_zoom, "swirl": _compare_swirl}[sys.argv[1]]()
