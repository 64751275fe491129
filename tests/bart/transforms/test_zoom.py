import torch

from bart.transforms.zoom import ZOOM
from tests.oracles.zoom import zoom
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def test_zoom_is_scikit_images_resize():
    assert_fidelity(ZOOM, zoom, mean=0.01, tail=0.05)
    assert_contract(ZOOM)
    assert_exact_gradient(ZOOM)


def test_margins_scale_with_their_own_side_and_are_uniform():
    for size, across, down in (((256, 256), (10, 50), (10, 50)), ((128, 512), (20, 100), (5, 25)), ((32, 48), (2, 9), (1, 6))):
        margin = ZOOM.draw(keys(20_000), size)["margin"]
        assert margin.amin(0).tolist() == [across[0], across[0], down[0], down[0]]
        assert margin.amax(0).tolist() == [across[1], across[1], down[1], down[1]]
    margin = ZOOM.draw(keys(41_000), (256, 256))["margin"]
    counts = torch.stack([torch.bincount(column)[10:] for column in margin.unbind(1)])
    assert counts.shape == (4, 41) and abs(counts - 1000).max() < 5 * 1000**0.5
    assert (torch.corrcoef(margin.T.double()) - torch.eye(4)).abs().max() < 0.02


def test_exactly_the_pixels_inside_the_margins_count():
    x = photographs(60, 70).requires_grad_()
    margin = torch.tensor([[3, 5, 7, 11]] * 4)
    (gradient,) = torch.autograd.grad(ZOOM.apply(x, {"margin": margin}).sum(), x)
    seen = torch.zeros(60, 70, dtype=torch.bool)
    seen[7 : 60 - 11, 3 : 70 - 5] = True
    assert torch.equal(gradient != 0, seen.expand_as(gradient))
