"""Check the kernel against the eager code in Triton's interpreter, and compile it for the GPUs, on a CPU."""

import pytest
import torch

from bart.transforms import fft as eager
from bart.transforms.fft import FFT
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images
from tests.support.images import keys

pytest.importorskip("triton")


def test_the_interpreted_kernel_equals_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernel_compiles(capability):
    assert_transform_compiles("fft", capability)


def _compare() -> None:
    for size in ((40, 51), (33, 32)):
        assert_twin("fft", size, largest=1e-6, gradient=5e-7, seeds=(0,))
    _assert_gains()
    _assert_symmetric()


def _edges() -> torch.Tensor:
    """Return fractions kept (5, 3) of which some meet a row or column, the last two by float32 arithmetic only."""
    return torch.tensor(
        [[0.0, 0.25, 0.5], [0.125, 0.4999, 0.95], [0.1, 0.2, 0.3], [0.49, 0.46875, 0.03125], [0.7, 7 / 41, 5 / 37]]
    )


def _assert_gains() -> None:
    """Check that the kernel multiplies by the mean of the definition's gains of k and -k, and by the inverse's factor."""
    from bart.gpu_kernels import fft
    from bart.gpu_kernels.common.part import whole_table

    for height, width in ((32, 36), (41, 37)):
        keep, seed = _edges(), FFT.draw(keys(5), (height, width))["seed"]
        (rows, _), (columns, _) = eager._kept(keep, height, height), eager._kept(keep, width, width)
        gains = (rows[..., :, None] & columns[..., None, :]) * eager.factors(seed, (height, width))[:, None].double()
        gains = (gains + gains.flip(2, 3).roll((1, 1), (2, 3))) / 2
        spectrum = torch.complex(*torch.randn(2, 5, 3, height, width // 2 + 1, generator=torch.Generator().manual_seed(0)))
        truth = spectrum * gains[..., : width // 2 + 1] / (height * width)
        pairs, programs = torch.view_as_real(spectrum), 5 * -(-height * (width // 2 + 1) // fft.BLOCK)
        arguments = (whole_table(5, keep.device), pairs, keep, seed, height, width)
        fft.launcher.launch(fft._gains_kernel, programs, *arguments, BLOCK=fft.BLOCK)
        torch.testing.assert_close(pairs, torch.view_as_real(truth).float(), rtol=5e-7, atol=0)


def _assert_symmetric() -> None:
    """Check that <A x, g> is <x, A g>, so that the backward pass may be the forward pass."""
    from bart.gpu_kernels.fft import fft

    for size in ((36, 34), (35, 37)):
        x = images(*size)[:5]
        g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        params = FFT.draw(keys(5), size) | {"keep": _edges()}
        one, other = ((a.double() * b.double()).sum((1, 2, 3)) for a, b in ((fft(x, params), g), (x, fft(g, params))))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(g[0].norm()))


if __name__ == "__main__":
    _compare()
