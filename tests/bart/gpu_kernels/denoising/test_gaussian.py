"""Check the kernel against the eager code in Triton's interpreter, and compile it for the GPUs, on a CPU."""

from unittest.mock import patch

import pytest
import torch

from bart.transforms.denoising import gaussian as eager
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin

pytest.importorskip("triton")


@pytest.mark.slow
def test_the_interpreted_kernel_equals_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernel_compiles(capability):
    """Compile down to machine code, without a GPU."""
    assert_transform_compiles("gaussian_blur", capability)


def _compare() -> None:
    from bart.gpu_kernels.denoising import gaussian

    generator = torch.Generator().manual_seed(0)
    # the narrowest and the widest window, and sigmas at which a window grows by a pixel or just does not
    sigma = torch.tensor([[0.1, 1.3, 3.0], [0.125, 0.12499999, 0.375]])
    x = torch.rand(2, 3, 19, 37, generator=generator).requires_grad_()
    with patch.multiple(gaussian, STRIP=16, TILE_W=32):  # neither is a divisor
        y, truth = gaussian.gaussian_blur(x, {"sigma": sigma}), eager.apply(x, {"sigma": sigma})
        torch.testing.assert_close(y, truth, atol=5e-7, rtol=0)
        cotangent = torch.randn(x.shape, generator=generator)
        (product,), (expected,) = (torch.autograd.grad(value, x, cotangent) for value in (y, truth))
        torch.testing.assert_close(product, expected, atol=2e-6, rtol=0)
    with patch.multiple(gaussian, STRIP=64, TILE_W=64):  # a strip a plane: the interpreter pays by the operation
        assert_twin("gaussian_blur", (33, 40), largest=1e-6, gradient=1e-6)


if __name__ == "__main__":
    _compare()
