import numpy as np
import pytest
import torch

from bart.transforms.denoising import disks, rank
from tests.oracles import rank as oracles
from tests.support.contracts.transforms import assert_contract, assert_fidelity, errors
from tests.support.images import keys, photographs

ALL = [(rank.MEDIAN, oracles.median), (rank.MEAN, oracles.mean), (rank.MEAN_BILATERAL, oracles.mean_bilateral)]
both = pytest.mark.parametrize(("transform", "oracle"), ALL, ids=lambda value: getattr(value, "name", ""))
EXACT = 1e-4
"""In 1/255: the levels are equal, and the rest is float32."""


@pytest.fixture(params=["each_sorted", "each_unsorted"])
def path(request, monkeypatch):
    """Select the code of the host, which sorts by radius, or that of a device, which does not know the radii; in chunks."""
    monkeypatch.setattr(rank, "map_images", lambda function, x, params: rank._mean_bilateral_device(x, params))
    monkeypatch.setattr(disks, "CHUNK_CPU", 3 * 64 * 64)
    monkeypatch.setattr(disks, "CHUNK_DEVICE", 5 * 64 * 64)
    if request.param == "each_unsorted":
        monkeypatch.setattr(rank, "each", disks.each_unsorted)


@both
def test_is_scikit_images(transform, oracle):
    assert_fidelity(transform, oracle, mean=EXACT, tail=EXACT, seeds=1)


@both
def test_both_ways_are_scikit_images(transform, oracle, path):
    assert errors(transform, oracle, photographs(64, 61)[:2], seed=5).max() < EXACT
    assert errors(transform, oracle, photographs(21, 33), seed=6).max() < EXACT  # smaller than the largest disk


@both
def test_hard_images(transform, oracle, path):
    """Use constant and saturated images, noise, and levels between 8-bit ones."""
    noise = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    flat = torch.stack([torch.full((3, 32, 40), level) for level in (0.0, 1.0, 0.503)])
    assert errors(transform, oracle, torch.cat([noise, (noise > 0.5).float(), flat]), seed=7).max() < EXACT


@pytest.mark.parametrize("transform", [rank.MEDIAN, rank.MEAN, rank.MEAN_BILATERAL], ids=lambda t: t.name)
def test_contract(transform):
    assert_contract(transform)


@pytest.mark.parametrize("transform", [rank.MEDIAN, rank.MEAN, rank.MEAN_BILATERAL], ids=lambda t: t.name)
def test_a_device_is_never_waited_for(transform):
    """Use tensors without values on the device's code, which raise if anything depends on a value."""
    x = torch.empty(2, 3, 32, 40, device="meta", requires_grad=True)
    params = {name: value.to("meta") for name, value in transform.draw(keys(2), (32, 40)).items()}
    y = transform.apply(x, params)
    assert y.shape == x.shape and y.dtype == x.dtype
    if transform is not rank.MEAN_BILATERAL:
        assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize(("s0", "s1"), [(5, 20), (20, 5)])
def test_bilateral_window_is_lopsided(s0, s1):
    """Keep g - s1 < v < g + s0: 104 but not 105 above 100 where s0 is 5, 81 but not 80 below it where s1 is 20."""
    levels = torch.tensor([80, 81, 95, 96, 100, 104, 105, 119, 120])
    x = levels.view(1, 1, 1, 9).expand(1, 3, 1, 9) / 255
    params = {"radius": torch.full((1, 3), 20), "s0": torch.full((1, 3), s0), "s1": torch.full((1, 3), s1)}
    kept = levels[(levels > 100 - s1) & (levels < 100 + s0)]
    assert rank.apply_mean_bilateral(x, params)[0, 0, 0, 4] * 255 == pytest.approx(kept.sum().item() // len(kept))


def test_the_largest_bilateral_sum(path):
    """Use a full disk of radius 20 whose levels are all at the window's upper end: more than 15 bits."""
    x = torch.full((1, 3, 41, 41), 119 / 255)
    x[..., 20, 20] = 100 / 255
    params = {"radius": torch.full((1, 3), 20), "s0": torch.full((1, 3), 20), "s1": torch.full((1, 3), 20)}
    assert rank.apply_mean_bilateral(x, params)[0, 0, 20, 20] * 255 == pytest.approx((1256 * 119 + 100) // 1257)


def _windows(radius, height, width):
    """Return for each pixel the pixels of its disk, by the definition."""
    y, x = np.mgrid[:height, :width]
    return {(i, j): (y - i) ** 2 + (x - j) ** 2 <= radius**2 for i in range(height) for j in range(width)}


def _gradient(transform, x, radius, weight):
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad((transform.apply(leaf, {"radius": radius}) * weight).sum(), leaf)
    return found.numpy()


def test_median_gradient_is_shared_by_the_selected_level(path):
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 12, (2, 3, 9, 13), generator=generator).double() / 255  # many ties
    x[:, :, :4] = 0  # a median of level 0 at the border is not shared with what lies outside
    radius, weight = torch.tensor([[2, 3, 4], [5, 5, 2]]), torch.randn(x.shape, generator=generator).double()
    found, median = _gradient(rank.MEDIAN, x, radius, weight), rank.apply_median(x, {"radius": radius})
    for i, c in np.ndindex(2, 3):
        expected = np.zeros((9, 13))
        for place, window in _windows(radius[i, c].item(), 9, 13).items():
            selected = window & (x[i, c] == median[i, c][place]).numpy()
            expected[selected] += weight[i, c][place].item() / selected.sum()
        np.testing.assert_allclose(found[i, c], expected, atol=1e-12)


def test_mean_gradient_is_the_unrounded_means(path):
    generator = torch.Generator().manual_seed(2)
    x, radius = torch.rand(1, 3, 11, 9, generator=generator).double(), torch.tensor([[2, 3, 3]])
    weight = torch.randn(x.shape, generator=generator).double()
    found = _gradient(rank.MEAN, x, radius, weight)
    for c in range(3):
        expected = np.zeros((11, 9))
        for place, window in _windows(radius[0, c].item(), 11, 9).items():
            expected[window] += weight[0, c][place].item() / window.sum()
        np.testing.assert_allclose(found[0, c], expected, atol=1e-6)  # populations are divided by in float32 or better


def test_a_step_along_the_mean_gradient_is_what_it_promises():
    """Take steps far larger than a level: the value itself follows the surrogate."""
    x, radius = photographs(48, 48) * 0.4 + 0.1, torch.tensor([[2, 3, 2]]).expand(4, 3)
    gradient = torch.from_numpy(_gradient(rank.MEAN, x, radius, torch.ones(())))
    before, after = (rank.apply_mean(image, {"radius": radius}).sum() for image in (x, x + 0.2))
    assert abs((after - before) / (gradient * 0.2).sum() - 1) < 0.01


@pytest.mark.parametrize("transform", [rank.MEDIAN, rank.MEAN], ids=lambda t: t.name)
def test_draws_of_a_radius(transform):
    radius = transform.draw(keys(20000), (32, 32))["radius"]
    low, high = {"median": (2, 5), "mean": (2, 3)}[transform.name]
    assert radius.shape == (20000, 3) and not radius.is_floating_point()
    for c in range(3):
        frequency = torch.bincount(radius[:, c], minlength=high + 1) / 20000
        assert (frequency[:low] == 0).all() and (frequency[low:] - 1 / (high - low + 1)).abs().max() < 0.02
    equal = (radius == radius[:, :1]).all(dim=1).float().mean()
    assert abs(equal - (0.5 + 0.5 / (high - low + 1) ** 2)) < 0.02  # shared, or equal by chance
    assert torch.equal(radius, transform.draw(keys(20000), (224, 160))["radius"])


def test_draws_of_the_bilateral_mean():
    params = rank.MEAN_BILATERAL.draw(keys(20000), (32, 32))
    for name, (low, high) in {"radius": (2, 20), "s0": (5, 20), "s1": (5, 20)}.items():
        frequency = torch.bincount(params[name].flatten(), minlength=high + 1) / 60000
        assert params[name].shape == (20000, 3) and (frequency[:low] == 0).all()
        assert len(frequency) == high + 1 and (frequency[low:] - 1 / (high - low + 1)).abs().max() < 0.01
    together = torch.cat(list(params.values()), dim=1).double().T.corrcoef()
    assert (together - torch.eye(9)).abs().max() < 0.03


def test_populations_of_disks():
    radius = torch.arange(2, 21)
    some = disks.Disks(radius, 2, 20, (24, 31))
    for r, size, population in zip(radius.tolist(), some.size(), some.population(), strict=True):
        y, x = np.mgrid[-r : r + 1, -r : r + 1]
        assert size == (y**2 + x**2 <= r**2).sum()
        assert all(population[place] == window.sum() for place, window in list(_windows(r, 24, 31).items())[::7])
