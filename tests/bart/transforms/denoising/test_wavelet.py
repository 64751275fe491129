import itertools
import warnings

import numpy as np
import pytest
import pywt
import torch

from bart.transforms.denoising import wavelet
from bart.transforms.denoising.wavelet import WAVELET
from tests.oracles import wavelet as oracles
from tests.support.contracts.transforms import assert_contract, assert_fidelity
from tests.support.images import keys, photographs

PATHS = {"host": wavelet.apply, "device": torch.no_grad()(wavelet._device)}


def _settings(count):
    """Return all 32 combinations in turn, as parameters of `count` images."""
    rows = list(itertools.islice(itertools.cycle(itertools.product((0, 1), range(4), (0, 1), (0, 1))), count))
    ycbcr, kind, soft, shift = torch.tensor(rows).T.contiguous()
    return {"ycbcr": ycbcr.bool(), "wavelet": kind, "soft": soft.bool(), "shift": shift}


def _truth(x, params):
    images = x.permute(0, 2, 3, 1).double().numpy()
    found = [oracles.wavelet(image, {k: v[i].numpy() for k, v in params.items()}) for i, image in enumerate(images)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def test_wavelet_is_scikit_image():
    assert_fidelity(WAVELET, oracles.wavelet, mean=0.02, tail=0.5)
    assert_contract(WAVELET)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(32, 32), (47, 61), (130, 131)])
def test_every_setting_is_scikit_image_on_both_paths(path, size):
    x, params = torch.cat([photographs(*size)] * 8).contiguous(), _settings(32)
    x[16:] = x[16:].roll((5, -3), (2, 3))  # the wavelet goes with the image else
    error = (PATHS[path](x, params) - _truth(x, params)).abs().flatten(1) * 255
    assert error.mean() < 0.02 and error.mean(1).max() < 0.3 and error.quantile(0.999, dim=1).median() < 1e-3


@pytest.mark.parametrize("path", PATHS)
def test_exact_zeros_are_left_out_of_the_noise_and_nothing_else(path):
    """Use a sky of one grey level, one of pure black, and 8-bit texture: what counts as zero moves the median."""
    texture = (torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 4).floor() / 255 + 0.5
    texture[0, :, :30], texture[1, :, :30], texture[2, :, :, 25:] = 0.7, 0, 100 / 255
    x, params = texture.repeat(8, 1, 1, 1), _settings(32)
    params["wavelet"] = torch.tensor([0, 2, 1, 3]).repeat_interleave(8)
    params["ycbcr"][:] = False
    error = (PATHS[path](x, params) - _truth(x, params)).abs().flatten(1).mean(1) * 255
    grey = torch.arange(32) % 4 != 1  # longer filters make of a grey area what the rounding decides, but zero of black
    exact = params["wavelet"] % 2 == 0
    assert error[exact | ~grey].max() < 1e-3, error


@pytest.mark.parametrize("path", PATHS)
def test_a_plane_without_details_stays(path):
    height = width = 40
    flat = torch.stack([torch.full((3, height, width), v) for v in (0.0, 1.0, 0.3)])
    stripes = torch.linspace(0, 1, height)[:, None].expand(3, height, width)
    x, params = torch.cat([flat, stripes[None]]).repeat_interleave(32, 0), _settings(128)
    y = PATHS[path](x, params)
    torch.testing.assert_close(y, x, atol=2e-6, rtol=0)


def test_the_device_path_does_not_mix_images():
    x, params = torch.cat([photographs(40, 33)] * 2).contiguous(), wavelet.draw(keys(8), (40, 33))
    y = wavelet._device(x, params)
    alone = [wavelet._device(x[i : i + 1], {k: v[i : i + 1] for k, v in params.items()}) for i in range(8)]
    torch.testing.assert_close(torch.cat(alone), y, atol=2e-6, rtol=0)
    assert wavelet._device(x.double(), params).dtype == torch.float64


@pytest.mark.parametrize("name", wavelet.WAVELETS)
def test_the_filter_bank_is_pywavelets(name):
    bank, taps = pywt.Wavelet(name), wavelet.FILTERS[name]
    assert taps == tuple(bank.dec_lo) and wavelet._high(taps) == tuple(bank.dec_hi)
    for size in (32, 33, 47, 128, 224, 255, 299, 512):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = max(pywt.dwtn_max_level((size, 600), name) - 3, 1)
        assert wavelet._levels(size, len(taps)) == expected
    for size in (32, 33, 57):
        x = torch.rand(2, size, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
        pair = wavelet._analyse(x, taps, -2)
        for found, expected in zip(pair, pywt.dwt(x.numpy(), name, axis=-2), strict=True):
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)
        torch.testing.assert_close(wavelet._synthesise(pair, taps, -2, size), x)


def test_drawn_parameters():
    params = wavelet.draw(keys(4000), (224, 224))
    for name, count in (("ycbcr", 2), ("wavelet", 4), ("soft", 2), ("shift", 2)):
        shares = torch.bincount(params[name].long()) / 4000
        assert len(shares) == count and (shares - 1 / count).abs().max() < 0.03
    joint = torch.stack([params[name].float() for name in params]).corrcoef() - torch.eye(4)
    assert joint.abs().max() < 0.06
