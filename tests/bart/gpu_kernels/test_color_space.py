"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

import itertools

import pytest
import torch

from bart import TRANSFORMS, dispatch
from bart.transforms.color import GREY
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin

pytest.importorskip("triton")

LARGEST = {"hsv": 1e-6, "xyz": 6e-6, "lab": 1e-5, "yuv": 3e-7}
"""Largest differences, all from rounding: where XYZ or LAB is clipped, dark channels are differences of large numbers."""
CHANNELS = (0.0, 0.02, 0.25, 0.5, 0.501, 0.9, 1.0)
"""Black, white, greys, saturated pixels and ties of each two channels are among their 343 colours."""


def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize("name", LARGEST)
def test_kernels_compile(name, capability):
    assert_transform_compiles(name, capability)


def _colors() -> torch.Tensor:
    """Return one image of all combinations of `CHANNELS`, of nearly grey pixels, and of random ones."""
    regular = torch.tensor(list(itertools.product(CHANNELS, repeat=3)))
    tilts = torch.tensor(list(itertools.product((0.0, 0.6 * GREY, 3 * GREY), repeat=3)))
    nearly = (torch.tensor([0.0, 0.01, 0.02])[:, None, None] + tilts).reshape(-1, 3)
    some = torch.rand(32 * 32 - len(regular) - len(nearly), 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([regular, nearly, some]).T.reshape(3, 32, 32)


def _compare_colors(name: str) -> None:
    """Compare pixel by pixel, with all combinations of the largest and smallest offsets, and with some between them."""
    generator = torch.Generator().manual_seed(1)
    ends = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    params = {"position": torch.cat([ends, torch.rand(2, 3, generator=generator)])}
    x = _colors().expand(10, 3, 32, 32).contiguous()
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, truth = dispatch._load(dispatch.KERNELS[name])(leaf, params), TRANSFORMS[name].eager(twin, params)
    torch.testing.assert_close(y, truth, atol=LARGEST[name], rtol=0)
    cotangent = torch.randn(x.shape, generator=generator)
    (product,), (expected,) = torch.autograd.grad(y, leaf, cotangent), torch.autograd.grad(truth, twin, cotangent)
    off = (product - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1)
    assert off.max() < 3e-4, f"{name}: a pixel's gradient is off by {off.amax((1, 2)).tolist()}"


def _compare() -> None:
    for name, largest in LARGEST.items():
        assert_twin(name, (32, 33), largest=largest, gradient=1e-5, seeds=(0,))
        _compare_colors(name)


if __name__ == "__main__":
    _compare()
