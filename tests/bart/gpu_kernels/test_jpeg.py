"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

import pytest
import torch

from bart.transforms.jpeg import JPEG
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin
from tests.support.images import photographs

pytest.importorskip("triton")


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    assert_transform_compiles("jpeg", capability)


def _compare() -> None:
    assert_twin("jpeg", (15, 33), largest=0, gradient=5e-7, seeds=(0,))
    tall, wide = photographs(18, 33, 1), photographs(16, 65, 1)  # two areas of 16 x 64 px, and two tiles backward, each
    _assert_exact(torch.cat([tall, _between(18, 33)]), (55, 100))
    noise = torch.rand(wide.shape, generator=torch.Generator().manual_seed(0))
    _assert_exact(torch.cat([(wide > 0.5).float(), noise]), (75, 95))


def _between(height, width):
    """Return floats half-way between two levels and their neighbours: 255 x is often a tie, to be broken to even."""
    half = (torch.arange(255) + 0.5) / 255
    ties = torch.cat([half, half.nextafter(torch.tensor(0.0)), half.nextafter(torch.tensor(1.0))])
    return ties.repeat(-(-3 * height * width // len(ties)))[: 3 * height * width].view(1, 3, height, width)


def _assert_exact(x, qualities) -> None:
    """Check the levels against the eager code in float64, which rounds no sum, and the gradients against float32."""
    from bart.gpu_kernels.jpeg import jpeg

    params = {"quality": torch.tensor(qualities)}
    leaf, leaf_twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, twin = jpeg(leaf, params), JPEG.eager(leaf_twin, params)
    truth = JPEG.eager((x * 255).round().double() / 255, params)
    assert torch.equal(y, (truth * 255).round().float() / 255)
    cotangent = torch.randn(x.mT.shape, generator=torch.Generator().manual_seed(0)).mT  # in another order of memory
    product, expected = torch.autograd.grad(y, leaf, cotangent)[0], torch.autograd.grad(twin, leaf_twin, cotangent)[0]
    torch.testing.assert_close(product, expected, rtol=0, atol=2e-6)


if __name__ == "__main__":
    _compare()
