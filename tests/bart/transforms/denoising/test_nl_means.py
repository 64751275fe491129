import numpy as np
import pytest
import torch
from skimage.restoration import estimate_sigma

from bart.approximate_exp import approximate_exp
from bart.transforms.denoising import nl_means, wavelet
from bart.transforms.denoising.nl_means import NL_MEANS
from tests.oracles import nl_means as oracles
from tests.support.contracts.transforms import assert_contract, assert_fidelity
from tests.support.images import keys, photographs

PATHS = {"host": nl_means.apply, "device": torch.no_grad()(nl_means._device)}


def _noisy(height, width):
    """Return photographs with noise."""
    noise = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    return (photographs(height, width).contiguous() + 0.06 * noise).clamp(0, 1)


def _params(count, distances=(6, 7, 8, 9, 10, 11)):
    """Return every patch and both sides of the coin, `distances` in turn."""
    index = torch.arange(count)
    return {
        "h": 0.6 + 0.55 * (index % 5) / 4,
        "patch": 5 + index % 3,
        "distance": torch.tensor(distances)[index % len(distances)],
        "per_channel": index // 3 % 2 == 0,
    }


def _truth(x, params):
    images = x.permute(0, 2, 3, 1).double().numpy()
    found = [oracles.nl_means(image, {k: v[i].numpy() for k, v in params.items()}) for i, image in enumerate(images)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def test_nl_means_is_scikit_image():
    assert_fidelity(NL_MEANS, oracles.nl_means, mean=0.001, tail=0.05, seeds=1)
    assert_contract(NL_MEANS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(32, 32), (40, 57)])
def test_every_setting_is_scikit_image_on_both_paths(path, size):
    x, params = torch.cat([_noisy(*size).repeat(3, 1, 1, 1), photographs(*size)]), _params(16)
    truth = _truth(x, params)
    assert (truth - x)[:12].abs().mean() > 0.02
    error = (PATHS[path](x, params) - truth).abs()
    assert error.quantile(0.999) < 1e-4 and error.max() < 2e-3, error.max()  # float32 may fall on the other side of the cutoff


@pytest.mark.parametrize("path", PATHS)
def test_without_noise_an_image_stays(path):
    height = width = 36
    flat = torch.stack([torch.full((3, height, width), v) for v in (0.0, 1.0, 0.3)])
    half = (torch.arange(width) > 20).float().expand(1, 3, height, width)
    x = torch.cat([flat, half]).repeat_interleave(2, 0)
    params = _params(8, (6,)) | {"per_channel": torch.arange(8) % 2 == 0}
    y = PATHS[path](x, params)
    torch.testing.assert_close(y, x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("path", PATHS)
def test_a_channel_without_noise_lowers_the_mean_of_the_three(path):
    x = _noisy(32, 40)
    x[:2, 1] = 0
    params = _params(4, (6,)) | {"per_channel": torch.tensor([True, False, True, False])}
    torch.testing.assert_close(PATHS[path](x, params).double(), _truth(x, params), atol=1e-4, rtol=0)


def test_the_noise_is_scikit_images():
    x = torch.cat([photographs(48, 41), _noisy(48, 41)])
    truth = [estimate_sigma(image, channel_axis=-1) for image in x.permute(0, 2, 3, 1).double().numpy()]
    found = wavelet.noise(x.double(), wavelet.DB2).flatten(1)
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-12)


def test_shifts_are_half_of_the_search():
    for distance in (1, 6, 11):
        half = nl_means.shifts(distance)
        square = {(y, x) for y in range(-distance, distance + 1) for x in range(-distance, distance + 1)}
        assert len(set(half)) == len(half)
        assert set(half) | {(-y, -x) for y, x in half} | {(0, 0)} == square and 2 * len(half) + 1 == len(square)


def test_the_exponential_is_exact_to_six_percent():
    away = torch.linspace(0, 5, 1000)
    assert (approximate_exp(away) * away.exp() - 1).abs().max() < 0.061
    assert approximate_exp(torch.zeros(())).item() == 1 - 60801 / 2**21


def test_the_device_path_does_not_mix_images():
    x, params = _noisy(34, 33), _params(4, (6, 11))
    y = nl_means._device(x, params)
    alone = [nl_means._device(x[i : i + 1], {k: v[i : i + 1] for k, v in params.items()}) for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), y, atol=1e-6, rtol=0)
    assert nl_means._device(x[:1].double(), {k: v[:1] for k, v in params.items()}).dtype == torch.float64


def test_drawn_parameters():
    params = nl_means.draw(keys(6000), (64, 300))
    assert 0.6 <= params["h"].min() < 0.601 and 1.149 < params["h"].max() < 1.15
    for name, low, count in (("patch", 5, 3), ("distance", 6, 6), ("per_channel", 0, 2)):
        shares = torch.bincount(params[name].long() - low) / 6000
        assert params[name].min() == low and len(shares) == count and (shares - 1 / count).abs().max() < 0.02
