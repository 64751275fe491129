"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

from unittest.mock import patch

import pytest
import torch

from bart import TRANSFORMS, dispatch
from bart.transforms.denoising import rank as eager
from tests.support.contracts import kernels
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin

pytest.importorskip("triton")

NAMES = ("median", "mean", "mean_bilateral")


def test_a_cpu_has_no_kernels():
    assert not dispatch.available(torch.zeros(1))


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(name, capability):
    """Compile down to machine code, without a GPU."""
    assert_transform_compiles(name, capability)


def _equal(name, x, **params) -> None:
    """Check for equal levels, and close gradients, for one image and its three planes' parameters."""
    params = {key: torch.tensor([values]) for key, values in params.items()}
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, truth = dispatch._load(dispatch.KERNELS[name])(leaf, params), TRANSFORMS[name].eager(twin, params)
    assert torch.equal(y, truth), name
    if name != "mean_bilateral":
        cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        (product,) = torch.autograd.grad(y, leaf, cotangent)
        torch.testing.assert_close(product, torch.autograd.grad(truth, twin, cotangent)[0], rtol=1e-5, atol=1e-6)


def _ties(height: int, width: int) -> torch.Tensor:
    """Return an image of few levels; black in the first rows, white in the first columns of one plane, so at borders too."""
    levels = torch.randint(90, 110, (1, 3, height, width), generator=torch.Generator().manual_seed(0))
    levels[0, 0, :6] = 0
    levels[0, 1, :, :9] = 255
    return levels / 255


def _compare_rounding() -> None:
    """Compare values between two levels and their neighbours in float32, and those out of range."""
    from bart.gpu_kernels.common.part import Part, whole_table
    from bart.gpu_kernels.denoising.rank.frames import filled_frame, levels_kernel

    halves = (torch.arange(-1, 256, dtype=torch.float64) + 0.5).div(255).float()
    up, down = torch.full_like(halves, 2.0), torch.full_like(halves, -2.0)
    x = torch.stack([halves, halves.nextafter(up), halves.nextafter(down)]).view(1, 3, 1, 257)
    part = Part(whole_table(1, x.device), x, x, x, False, {})
    frame = filled_frame(levels_kernel, part, x, margin=2, INSIDE=3, OUTSIDE=-7)
    inside = frame[:, 2:3, 2:259].clone()
    frame[:, 2:3, 2:259] = -7
    assert torch.equal(inside, eager._levels(x).float() + 3) and (frame == -7).all()


def _compare() -> None:
    from bart.gpu_kernels.denoising.rank import bilateral, frames

    _compare_rounding()
    _equal("mean", _ties(18, 37), radius=[2, 3, 2])  # four tiles a plane
    _equal("median", _ties(18, 34), radius=[2, 3, 2])
    _equal("mean_bilateral", _ties(10, 34), radius=[2, 3, 2], s0=[5, 8, 20], s1=[20, 5, 6])
    one_tile = patch.multiple(frames, TILE_H=64, TILE_W=64), patch.object(bilateral, "BILATERAL_H", 16)
    with one_tile[0], one_tile[1]:  # a tile a plane: the interpreter pays by the operation
        _equal("median", _ties(33, 40), radius=[5, 2, 2])
        wide = _ties(41, 41)
        wide[0, 0] = 1.0  # the largest sum of a row, and nearly of a disk
        wide[0, 0, 21:] = torch.linspace(240, 255, 20)[:, None].round() / 255
        _equal("mean_bilateral", wide, radius=[20, 5, 2], s0=[20, 5, 19], s1=[5, 20, 18])
        few = kernels.images(33, 37)[[0, 4, 5]]
        draws = patch.multiple(eager, MEDIAN_RADII=(2, 2), BILATERAL_RADII=(2, 2))
        with draws, patch.object(kernels, "images", lambda height, width: few):
            for name in NAMES:
                assert_twin(name, (33, 37), largest=0, gradient=1e-6, seeds=(0,))


if __name__ == "__main__":
    _compare()
