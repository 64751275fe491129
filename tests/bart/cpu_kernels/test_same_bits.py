"""Compiled transforms have the bits of their definitions, forward and backward: in PyTorch, NumPy or PyWavelets."""

import pkgutil
from importlib import import_module

import numpy as np
import pytest
import pywt
import torch

from bart import TRANSFORMS, Gradient, cpu_kernels, rng
from bart.cpu_kernels import contrast, noise, seams
from bart.cpu_kernels.denoising import wavelet as wavelets
from bart.transforms import clahe, color, color_space, grey, jpeg, precision, seam_carving, zoom
from bart.transforms import contrast as contrasts
from bart.transforms import noise as noises
from bart.transforms.denoising import gaussian, rank, tv, wavelet
from tests.support.images import keys, photographs

EAGER = {
    "clahe": clahe, "hist_eq": contrasts, "contrast_stretch": contrasts, "median": rank, "mean": rank, "noise": noises,
    "xyz": color, "lab": color, "hsv": color_space, "yuv": color_space, "color_precision": precision,
    "gaussian_blur": gaussian, "seam_carving": seam_carving, "jpeg": jpeg, "zoom": zoom, "swirl": zoom,
    "grey_mix": grey, "grey_partial_mix": grey, "grey_two_thirds": grey, "grey_one_channel": grey,
}  # fmt: skip
"""The module of each transform whose definition in PyTorch runs on a CPU, too, if `fits` says that no kernel can."""
SIZES = [(224, 224), (32, 32), (37, 53), (1, 1), (1, 7), (5, 1), (2, 3)]


def images(size):
    """Return photographs, images between 8-bit levels, black and white ones, a constant one and noise."""
    generator = torch.Generator().manual_seed(0)
    some = photographs(64, 64)[..., : size[0], : size[1]] if max(size) < 64 else photographs(*size)
    near = (some + 0.02 * torch.randn(some.shape, generator=generator)).clamp(0, 1)
    parts = [some, near, (some > 0.5).float(), torch.full_like(some[:1], 0.3), torch.rand(some[:2].shape, generator=generator)]
    return torch.cat(parts).contiguous()


def both(name, x, seed=0):
    """Return the transformed images and, if there is one, the gradient."""
    transform = TRANSFORMS[name]
    params = transform.draw(keys(len(x), seed), tuple(x.shape[-2:]))
    leaf = x.clone().requires_grad_(transform.gradient is not Gradient.NONE)
    y = transform.unclipped(leaf, params)
    if not leaf.requires_grad:
        return [y]
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        assert torch.equal(transform.unclipped(x, params), y), "another value with a graph than without"
    return [y.detach(), *torch.autograd.grad(y, leaf, cotangent)]


@pytest.mark.parametrize("name", EAGER)
@pytest.mark.parametrize("size", SIZES)
def test_a_kernel_has_the_bits_of_the_definition(name, size, monkeypatch):
    x = images(size)
    x = x[:3] if name == "seam_carving" else x  # the eager search takes a second an image
    compiled = both(name, x)
    monkeypatch.setattr(EAGER[name], "fits", lambda x: False)
    for mine, eager in zip(compiled, both(name, x), strict=True):
        different = float((mine != eager).float().mean())
        assert not different, f"{different:.2e} of the values, by at most {float((mine - eager).abs().max()):.2e}"


@pytest.mark.parametrize("name", [*EAGER, "tv_chambolle", "wavelet"])
def test_an_image_is_its_own_and_may_lie_anywhere_in_memory(name):
    x = images((33, 40))
    params = TRANSFORMS[name].draw(keys(len(x)), (33, 40))
    apart = x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert not apart.is_contiguous()
    with torch.no_grad():
        together = TRANSFORMS[name].unclipped(x, params)
        assert torch.equal(TRANSFORMS[name].unclipped(apart, params), together)
        for i in (0, 5, 12):
            alone = TRANSFORMS[name].unclipped(x[i : i + 1], {key: value[i : i + 1] for key, value in params.items()})
            assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("together", [True, False])
def test_total_variation_has_numpys_bits(size, together):
    for i, image in enumerate(images(size).numpy()[::3]):
        weight = float(np.float32(0.05 * (i + 1)))
        planes, coupled = (image, 1.0) if together else (image[:1], 0.0)
        cotangent = np.random.default_rng(i).standard_normal(planes.shape, np.float32)
        params = {"weight": np.float32(weight), "per_channel": not together}
        solution, gradient = tv._host(image, params), tv._host(np.resize(cotangent, (3, *size)), params | {"u": image})
        np.testing.assert_array_equal(solution[: len(planes)], tv._solve(planes, weight, coupled))
        np.testing.assert_array_equal(gradient[: len(planes)], tv._diffuse(cotangent, planes, weight, coupled))


@pytest.mark.parametrize("name", ["db1", "db2", "sym9"])
@pytest.mark.parametrize("size", [*SIZES, (17, 18), (18, 17)])
def test_wavelets_have_pywavelets_bits(name, size):
    plane, bank = np.random.default_rng(0).random(size), pywt.Wavelet(name)
    filters = [np.array(filter) for filter in (wavelet.FILTERS[name], wavelet._high(wavelet.FILTERS[name]))]
    truth = pywt.dwtn(plane, bank, axes=(-2, -1))
    bands = wavelets.analysed(plane, *filters)
    for key, band in zip(("aa", "ad", "da", "dd"), bands, strict=True):
        np.testing.assert_array_equal(band, truth[key])
    low, high = (filter[::-1].copy() for filter in filters)
    again = wavelets.synthesised(bands, low, high, size)
    np.testing.assert_array_equal(again, pywt.idwtn(truth, bank, axes=(-2, -1))[: size[0], : size[1]])


def test_the_field_is_that_of_all_devices():
    seeds = torch.tensor([0, -1, 2**62 + 5])
    for seed, truth in zip(rng.fold(seeds, 0).tolist(), rng.field(seeds, (999,)), strict=True):
        out = np.empty(999, np.float32)
        noise.field(seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, out)
        np.testing.assert_array_equal(out, truth.numpy())


@pytest.mark.parametrize("scale", [1.0, -3.0, 1e6, 1e-6])
def test_order_statistics_of_any_values(scale):
    values = (np.random.default_rng(0).random(5001, np.float32) * np.float32(scale)).astype(np.float32)
    values[::7] = values[0]
    ranks = np.array([0, 1, 50, 2500, 4999, 5000])
    np.testing.assert_array_equal(contrast.order_statistics(values, ranks), np.sort(values)[ranks])


@pytest.mark.parametrize("name", ["mean_bilateral", "tv_chambolle", "median", "noise", "xyz", "clahe"])
def test_images_may_lie_in_memory_in_any_order(name):
    x = torch.rand(2, 3, 23, 38, generator=torch.Generator().manual_seed(0))[..., ::2].transpose(2, 3)
    moved, transform = x.clone(memory_format=torch.preserve_format), TRANSFORMS[name]
    params = transform.draw(torch.arange(2), (19, 23))
    assert not moved.is_contiguous()
    assert torch.equal(transform.apply(moved, params), transform.apply(x.contiguous(), params))


def test_hist_eq_of_what_is_not_finite_is_nan_and_of_no_image_none():
    x, transform = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0)), TRANSFORMS["hist_eq"]
    x[0, 0, 4, 4], x[1, 1, 2, 2] = float("nan"), float("inf")
    nan = transform.apply(x, transform.draw(torch.arange(3), (9, 7))).isnan().all(dim=3).all(dim=2)
    assert nan.nonzero().tolist() == [[0, 0], [1, 1]]
    assert transform.apply(x[:0], transform.draw(torch.arange(0), (9, 7))).shape == (0, 3, 9, 7)


def loops():
    """Return the compiled loops of transforms by name."""
    found = dict(seams._compiled())
    for module in pkgutil.walk_packages(cpu_kernels.__path__, "bart.cpu_kernels."):
        if ".network" not in module.name:
            found |= {f"{module.name}.{name}": thing for name, thing in vars(import_module(module.name)).items()}
    return {name: thing for name, thing in found.items() if hasattr(thing, "signatures")}


@pytest.mark.parametrize("size", [(32, 32), (1, 7), (45, 38)])
def test_a_loop_is_compiled_for_one_kind_of_arguments(size):
    for name in TRANSFORMS:
        both(name, images(size)[::6])
    kinds = {name: len(loop.signatures) for name, loop in loops().items()}
    assert sum(count > 0 for count in kinds.values()) > 40, "few loops have run"
    twice = {name for name, count in kinds.items() if count > 1}
    assert twice <= {"bart.cpu_kernels.denoising.rank._sums"}, "only sums of levels and of gradients differ in their types"
