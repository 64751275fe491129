import numpy as np
import pytest
import torch
from scipy import stats
from skimage.util import random_noise

from bart.cpu_kernels import noise as kernels
from bart.transforms import noise
from bart.transforms.noise import KINDS, NOISE
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient
from tests.support.images import keys, photographs

LEVELS = (0, 1, 2, 5, 20, 60, 128, 200, 250, 255)
"""Grey levels, of 255, at which distributions are compared."""


def ramp(count: int) -> torch.Tensor:
    """Return images (count, 3, 64, 256) in which column v has grey level v: all 256 values, as in a photograph."""
    return (torch.arange(256) / 255).expand(count, 3, 64, 256).clone()


def noisy(kind: str, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    params = NOISE.draw(keys(len(x), seed), tuple(x.shape[-2:])) | {"kind": torch.full((len(x),), KINDS.index(kind))}
    return NOISE.apply(x, params)


@pytest.mark.parametrize("kind", KINDS)
def test_distribution_is_that_of_scikit_image(kind):
    count = 40
    ours = noisy(kind, ramp(count)).permute(3, 0, 1, 2).reshape(256, -1).double().numpy()
    image = np.broadcast_to(np.arange(256)[None, :, None] / 255, (64 * count, 256, 3))
    truth = random_noise(image, mode=kind, rng=1).transpose(1, 0, 2).reshape(256, -1)
    deviation = np.sqrt((truth.var(axis=1) + 1e-4) / truth.shape[1])
    assert (np.abs(ours.mean(axis=1) - truth.mean(axis=1)) < 6 * deviation).all()
    np.testing.assert_allclose(ours.std(axis=1), truth.std(axis=1), rtol=0.15, atol=2e-3)
    assert abs(ours.std(axis=1).mean() / truth.std(axis=1).mean() - 1) < 0.008
    for level in LEVELS:
        found = stats.ks_2samp(ours[level].round(6), truth[level].round(6), method="asymp")
        assert found.pvalue > 1e-4, f"{kind} at level {level}: {found}"


def test_noise_contract():
    assert_contract(NOISE)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "poisson"])
def test_gradient_is_exact_given_the_draw(kind):
    fixed = torch.full((4,), KINDS.index(kind))
    assert_exact_gradient(
        type(NOISE)("fixed", "noise", lambda k, s: NOISE.draw(k, s) | {"kind": fixed}, NOISE.eager, NOISE.gradient)
    )


def test_poisson_gradient_is_that_of_its_mean():
    x = (photographs(32, 32) * 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(noisy("poisson", x).sum(), x)
    assert (gradient == 1).all()


def test_poisson_cumulative_probabilities():
    grid = (torch.arange(0, 2**24, 256) + 101).float() * 2.0**-24
    deviate = noise.normal(grid)
    for mean in np.concatenate([[0, 1e-3], np.geomspace(0.01, 256, 60)]):
        counts = noise.poisson(torch.full_like(grid, float(mean)), grid + 2.0**-25, deviate).long()
        ours = counts.bincount().cumsum(0).numpy() / len(grid)
        assert np.abs(ours - stats.poisson.cdf(np.arange(len(ours)), mean)).max() < 6e-4, f"mean {mean}"
        assert (counts.diff() >= 0).all(), f"mean {mean}: not monotone"


def test_poisson_at_the_ends_of_the_uniform():
    uniform = torch.tensor([0.0, 1 - 2.0**-24])
    for mean in (0.0, 0.5, 100.0, 256.0):
        low, high = noise.poisson(torch.full((2,), mean), uniform + 2.0**-25, noise.normal(uniform)).tolist()
        assert abs(low - stats.poisson.ppf(2.0**-25, mean)) <= 1 and abs(high - stats.poisson.isf(2.0**-25, mean)) <= 1


def test_a_uniform_of_zero_is_not_a_count_of_zero(monkeypatch):
    monkeypatch.setattr(noise.rng, "field", lambda seeds, shape: torch.zeros(len(seeds), *shape))
    monkeypatch.setattr(kernels, "field", lambda low, high, out: out.fill(0))
    for dtype in (torch.float32, torch.float64):
        assert noisy("poisson", torch.ones(1, 3, 32, 32, dtype=dtype)).min() > 0.6


def test_the_normal_quantile():
    grid = torch.arange(0, 2**24, 1024).float() * 2.0**-24
    np.testing.assert_allclose(noise.normal(grid), stats.norm.ppf(grid.double().numpy() + 2.0**-25), atol=2e-6, rtol=2e-6)


def test_photographs_have_the_256_levels_assumed():
    for image in photographs(224, 224).numpy():
        assert 2 ** np.ceil(np.log2(len(np.unique(image)))) == noise.LEVELS


@pytest.mark.parametrize("others", ["few", "levels", "floats"])
def test_poisson_noise_of_a_value_depends_on_that_value_alone(others):
    """Hold it to the distribution of 256 levels, whether the rest of the image has 2 values, 256, or one for each pixel.

    scikit-image takes another number of levels for the first and the last, and so has another deviation.
    """
    floats = torch.rand(3, 64 * 256, generator=torch.Generator().manual_seed(0))
    rest = {"few": torch.ones_like(floats), "levels": ramp(1)[0].flatten(1), "floats": floats}[others]
    value = 96 / 255
    x = torch.cat([rest, torch.full_like(rest, value)], dim=1)[:, None].expand(8, 3, 1, -1).contiguous()
    ours = noisy("poisson", x)[..., rest.shape[1] :].flatten().double().numpy() * 256
    np.testing.assert_allclose(ours, ours.round(), atol=1e-4)
    counts = np.bincount(ours.round().astype(int))
    away = np.cumsum(counts) / len(ours) - stats.poisson.cdf(np.arange(len(counts)), value * 256)
    assert np.abs(away).max() < 1.63 / len(ours) ** 0.5 + 6e-4, "beyond Kolmogorov and Smirnov's 1 % and the inversion's error"
    theirs = random_noise(x[0].double().numpy(), mode="poisson", rng=1)[..., rest.shape[1] :].std()
    assert (abs(theirs / (value / 256) ** 0.5 - 1) < 0.02) == (others == "levels")


def test_kinds_are_uniform_and_seeds_differ():
    params = NOISE.draw(keys(6000), (224, 224))
    counts = params["kind"].bincount(minlength=6)
    assert len(counts) == 6 and (counts - 1000).abs().max() < 150
    assert len(params["seed"].unique()) == 6000
    x = torch.full((2, 3, 64, 64), 0.5)
    first, second = (noisy("gaussian", x) - x).flatten(1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    red, green = (noisy("gaussian", x) - x)[0, :2].flatten(1)
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.08
