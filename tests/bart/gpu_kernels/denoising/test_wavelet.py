import pytest
import torch

from bart.transforms.denoising import wavelet as eager
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, images

pytest.importorskip("triton")

_noise: object
"""A kernel's function, set by `_medians`: a Triton program sees only names of its module."""


@pytest.mark.slow
@pytest.mark.parametrize("part", ["settings", "zeros", "medians"])
def test_the_interpreted_kernels_equal_the_eager_code(part):
    assert_interpreted(__name__, part)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernels_compile(capability):
    assert_transform_compiles("wavelet", capability)


def _params(ycbcr, wavelet, soft, shift):
    return {
        "ycbcr": torch.tensor(ycbcr).bool(),
        "wavelet": torch.tensor([eager.WAVELETS.index(name) for name in wavelet]),
        "soft": torch.tensor(soft).bool(),
        "shift": torch.tensor(shift),
    }


def _assert_twin(x, params, largest):
    from bart.gpu_kernels.denoising.wavelet.transform import wavelet

    ours = wavelet(x, params)
    with torch.no_grad():
        twin = eager._device(x, params)
    torch.testing.assert_close(ours, twin, atol=largest, rtol=0)
    torch.testing.assert_close(ours, eager.apply(x, params), atol=largest, rtol=0)
    return (twin - x).abs().amax((1, 2, 3))


def _settings():
    """Compare two levels of db1 and haar, one of the others; odd and even sides; a constant image, which does not change."""
    params = _params([1, 0, 0, 1], ["sym9", "haar", "db2", "sym9"], [1, 0, 0, 1], [0, 1, 0, 0])
    change = _assert_twin(images(33, 46)[[0, 1, 2, 5]], params, 1e-6)
    assert change[:3].min() > 1e-3 and change[3] < 1e-6


def _zeros():
    """Compare grey and black areas, whose details are zero or rounding; more columns than a tile has; three levels."""
    x = images(64, 140)[[0, 1]]
    x[0, :, :40], x[1, :, :, 50:] = 0.7, 0
    assert _assert_twin(x, _params([0, 0], ["db1", "sym9"], [0, 1], [0, 0]), 2e-6).min() > 1e-3


def _medians():
    """Compare the noise of even and odd counts, with zeros, ties, numbers beyond 2, and of nothing but zeros."""
    import triton
    from triton import language as tl

    from bart.gpu_kernels.denoising.wavelet.noise import noise

    global _noise

    @triton.jit
    def _noise_kernel(values, out, count):
        tl.store(out, _noise(values, count))

    _noise = noise
    normal = torch.randn(4500, generator=torch.Generator().manual_seed(0))
    few = (normal * 2).round() / 4
    constants = torch.zeros(7), torch.full((50,), 2.0)
    for values in (normal, normal[:4097], normal[:1], normal[:2], few, 5 * few, 9 * normal[:100], *constants):
        out = torch.empty(1, dtype=torch.float64)
        _noise_kernel[(1,)](values, out, len(values))
        truth = eager.noise_host(values.double().numpy()[None])
        assert abs(out.item() - truth) <= 1e-12 * truth, (out.item(), truth)


if __name__ == "__main__":
    import sys

    {"settings": _settings, "zeros": _zeros, "medians": _medians}[sys.argv[1]]()
