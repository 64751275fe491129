"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

import pytest
import torch

from bart import TRANSFORMS, dispatch
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images
from tests.support.images import keys

pytest.importorskip("triton")

GREY = ("grey_mix", "grey_partial_mix", "grey_two_thirds", "grey_one_channel")
SIZE = (32, 33)
"""Two blocks and a rest."""


def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize("name", ("color_precision", *GREY))
def test_kernels_compile(name, capability):
    assert_transform_compiles(name, capability)


def _compare_levels() -> None:
    """Compare bit for bit, also at the ties of every scale, which are ties only after x s was rounded."""
    apply, eager = dispatch._load(dispatch.KERNELS["color_precision"]), TRANSFORMS["color_precision"].eager
    assert_twin("color_precision", SIZE, largest=0.0, gradient=0.0)
    scale = torch.arange(8, 203).reshape(65, 3)
    place = torch.arange(32 * 32).float()
    ties = (place % scale[:, :, None] + 0.5) / scale[:, :, None]  # half of them on the level below, half on that above
    x = ties.reshape(65, 3, 32, 32).contiguous()
    x[::2, :, 16:] = torch.nextafter(x[::2, :, 16:], torch.tensor(0.0))
    params = {"scale": scale}
    assert ((x * scale[:, :, None, None]) % 1 == 0.5).float().mean() > 0.5, "no ties"
    assert torch.equal(apply(x, params), eager(x, params))


def _compare_channels(name: str) -> None:
    """Compare every channel unchanged, or altered, in an image of its own."""
    x = images(32, 32)
    params = TRANSFORMS[name].draw(keys(len(x), 7), (32, 32)) | {"channel": torch.tensor([0, 1, 2, 0, 1, 2])}
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, truth = dispatch._load(dispatch.KERNELS[name])(leaf, params), TRANSFORMS[name].eager(twin, params)
    torch.testing.assert_close(y, truth, atol=3e-7, rtol=0)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    (product,), (expected,) = torch.autograd.grad(y, leaf, cotangent), torch.autograd.grad(truth, twin, cotangent)
    torch.testing.assert_close(product, expected, atol=1e-6, rtol=0)


def _compare() -> None:
    _compare_levels()
    for name in GREY:
        assert_twin(name, SIZE, largest=3e-7, gradient=3e-7)
    for name in ("grey_two_thirds", "grey_one_channel"):
        _compare_channels(name)


if __name__ == "__main__":
    _compare()
