"""Check what the table promises of every transform: its range, sizes from one pixel up, derivatives at degenerate images."""

import itertools
import json
from unittest.mock import patch

import numpy as np
import pytest
import torch

from bart import BART_25, TRANSFORMS, Barrage, Gradient, Mirror, dispatch, rng
from bart.bpda.policies import combo, identity
from bart.transforms import seam_carving
from bart.transforms.denoising import nl_means, rank, wavelet
from tests.oracles import ORACLES
from tests.support.contracts.transforms import errors
from tests.support.images import keys, photographs

SIZES = [(side, other) for side in range(1, 17) for other in sorted({side, 17 - side, 33})]
"""All squares, and images of every shape, up to 16 px; one side beyond."""

LEAVING = {"fft": 0.1, "yuv": 0.01, "wavelet": 0.1}
"""The transforms that leave [0, 1] by more than rounding, and how far, at least, on these images."""


def extreme(height, width, dtype=torch.float32):
    """Return images (12, 3, height, width): noise, black and white noise, constants, one bright or dark pixel, photographs."""
    random = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    flat = torch.stack([torch.full((3, height, width), value) for value in (0.0, 0.3, 1.0)])
    bright = torch.zeros(1, 3, height, width)
    bright[..., height // 2, width // 3] = 1
    corner = photographs(40, 40)[..., 4 : 4 + height, 4 : 4 + width]
    return torch.cat([random, (random > 0.5).float(), flat, bright, 1 - bright, corner[:3]]).to(dtype)


def drawn(transform, x, seed=0):
    return transform.draw(keys(len(x), seed), (x.shape[-2], x.shape[-1]))


def gradient(y, leaf, cotangent):
    return torch.autograd.grad(y, leaf, cotangent)[0]


# The range


@pytest.mark.parametrize("name", TRANSFORMS)
def test_apply_stays_in_0_to_1_with_the_derivative_of_clipping(name):
    transform, x, left = TRANSFORMS[name], extreme(32, 36), 0.0
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    for seed in range(4):
        params = drawn(transform, x, seed)
        leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, raw = transform.apply(leaf, params), transform.unclipped(twin, params)
        assert y.min() >= 0 and y.max() <= 1 and torch.equal(y, raw.clamp(0, 1))
        left = max(left, float(-raw.detach().min()), float(raw.detach().max()) - 1)
        if y.requires_grad:
            inside = (raw >= 0) & (raw <= 1)
            assert torch.equal(gradient(y, leaf, cotangent), gradient(raw, twin, cotangent * inside))
    assert left > LEAVING[name] if name in LEAVING else left < 1e-6


@pytest.mark.parametrize("name", BART_25)
def test_a_barrage_of_one_transform_is_its_apply(name):
    """Compare values and gradients, bit for bit: it makes no difference who clips. An identity is clipped too."""
    transform, x = TRANSFORMS[name], extreme(32, 36)
    mirror = Mirror.of(keys(len(x), 2), "cpu")
    params = transform.draw(rng.fold(mirror.device, name), (32, 36))
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    barrage = Barrage(1, (name,))
    y, truth = barrage.apply(leaf, barrage.draw(mirror, (32, 36)), combo), transform.apply(twin, params)
    assert torch.equal(y, truth)
    if truth.requires_grad:
        assert torch.equal(gradient(y, leaf, cotangent), gradient(truth, twin, cotangent))
    else:
        raw = transform.unclipped(x, params)
        assert torch.equal(gradient(y, leaf, cotangent), cotangent * ((raw >= 0) & (raw <= 1)))
        assert torch.equal(identity(transform, x, params), raw)


# Sizes


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_size_from_one_pixel_up(name):
    transform = TRANSFORMS[name]
    for size in SIZES:
        x = extreme(*size).requires_grad_()
        for seed in (0, 1):
            params = drawn(transform, x, seed)
            told = transform.conditioning(params, size)
            y = transform.apply(x, params)
            assert y.shape == x.shape and y.isfinite().all() and y.min() >= 0 and y.max() <= 1, size
            assert (told >= 0).all() and (told <= 1).all(), size
            if y.requires_grad:
                assert torch.autograd.grad(y.square().sum(), x)[0].isfinite().all(), size


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("size", [(2, 5), (3, 3), (4, 4), (3, 7), (7, 5), (9, 16), (16, 2)])
def test_small_images_are_those_of_the_oracle(name, size):
    x = photographs(64, 64)[..., 20 : 20 + size[0], 20 : 20 + size[1]].contiguous()
    found = np.concatenate([errors(TRANSFORMS[name], ORACLES[name], x, seed) for seed in range(3)])
    undefined = np.isnan(found).mean()  # wavelet: scikit-image divides by a noise of zero
    assert undefined == 0 or (name == "wavelet" and undefined < 1)
    assert np.nanmean(found) < 0.05


def _seams(x, params):
    """Carve as a device does: by the eager search, not the compiled one."""
    with patch.object(seam_carving, "fits", lambda x: False):
        return seam_carving.apply(x, params)


DEVICE = {
    "wavelet": (wavelet._device, 5e-3),  # a detail that is zero up to rounding moves the median of the noise
    "nl_means": (nl_means._device, 2e-3),  # a distance at the cutoff has a weight of .7 % or none
    "mean_bilateral": (rank._mean_bilateral_device, 1e-6),
    "seam_carving": (_seams, 0),
}
"""The transforms whose code for devices differs from that for CPUs; the largest difference."""


@pytest.mark.parametrize("name", DEVICE)
def test_small_images_on_a_device(name):
    function, largest = DEVICE[name]
    for size in SIZES:
        x = extreme(*size)
        params = drawn(TRANSFORMS[name], x)
        difference = (function(x, params).clamp(0, 1) - TRANSFORMS[name].apply(x, params)).abs().max()
        assert difference <= largest, (size, difference)


def test_a_barrage_takes_small_images():
    for size in ((1, 1), (1, 9), (5, 3), (9, 16)):
        x, barrage = extreme(*size), Barrage(10)
        y = barrage.apply(x, barrage.draw(Mirror.of(keys(len(x)), "cpu"), size))
        assert y.shape == x.shape and y.isfinite().all()


def test_kernels_take_images_that_they_are_written_for():
    pytest.importorskip("triton")
    x = torch.zeros(1, 3, dispatch.SMALLEST, 40)
    with patch.object(dispatch, "available", lambda x: True):
        for name in dispatch.KERNELS:
            assert dispatch.find(name, x) is not None
            assert dispatch.find(name, x[:, :, 1:]) is None and dispatch.find(name, x[:, :, :, : dispatch.SMALLEST - 1]) is None


# Derivatives at degenerate images

LARGE, SMALL = 0.5, 1e-5
"""Steps for functions that round, and for others."""


@pytest.mark.parametrize("name", [name for name, t in TRANSFORMS.items() if t.gradient is not Gradient.NONE])
def test_the_derivative_at_degenerate_images_is_that_of_moving_them_inward(name):
    """Hold the gradient to one-sided differences along the direction in which pixels leave their bound.

    Exceptions, with tests of their own: noise replaces pixels, and the stretch counts its percentiles as constants.
    """
    transform, (height, width) = TRANSFORMS[name], (20, 24)
    exact = transform.gradient is Gradient.EXACT
    x = extreme(height, width, torch.double)[4:9]
    x = x if exact else x[:3]  # a median selects other pixels, a diffusion is only near the truth
    inward = torch.where(x > 0.5, -1.0, 1.0).double()
    step, tolerance = (SMALL, 1e-3) if exact else (LARGE, 0.25)  # a rounded value is off by up to 1 / 16
    for seed in range(3):
        params = drawn(transform, x, seed)
        leaf = x.clone().requires_grad_()
        y = transform.unclipped(leaf, params)
        found = gradient(y, leaf, torch.ones_like(x))
        assert found.isfinite().all()
        if name == "contrast_stretch":
            assert (found == 0).all(), "a channel without contrast moves"
        elif name != "noise":
            numeric = ((transform.unclipped(x + step * inward, params) - y) / step).sum((1, 2, 3))
            assert ((found * inward).sum((1, 2, 3)) - numeric).abs().max() <= tolerance * x[0].numel()


def test_gradients_at_degenerate_images_are_finite_in_single_precision():
    for name, seed in itertools.product(TRANSFORMS, range(3)):
        x = extreme(20, 24).requires_grad_()
        y = TRANSFORMS[name].apply(x, drawn(TRANSFORMS[name], x, seed))
        assert not y.requires_grad or torch.autograd.grad(y.sum(), x)[0].isfinite().all(), name


# What was drawn, for people


@pytest.mark.parametrize("name", TRANSFORMS)
def test_settings_are_the_parameters_of_one_image_as_plain_values(name):
    transform = TRANSFORMS[name]
    for seed in range(12):
        params = transform.draw(keys(3, seed), (32, 40))
        found = transform.settings({key: value[1:2] for key, value in params.items()})
        assert json.loads(json.dumps(found)) == found and list(found) == list(transform.maxima)
        for key, value in found.items():
            words = transform.words.get(key)
            if words:
                assert value == words[int(params[key][1])]
            else:
                assert np.allclose(value, params[key][1].numpy(), rtol=1e-5, atol=1e-9)
        assert transform.settings(params) == transform.settings({key: value[:1] for key, value in params.items()})


def test_words_name_every_value_of_an_index():
    spoken = {(name, key): words for name, transform in TRANSFORMS.items() for key, words in transform.words.items()}
    assert spoken and all(len(words) == TRANSFORMS[name].maxima[key] + 1 for (name, key), words in spoken.items())
