import pytest
import torch

from bart.transforms import seam_carving as module
from bart.transforms.seam_carving import SEAM_CARVING, kept_pixels
from tests.oracles import seam_carving as oracle
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def carved(x, params):
    """Return the carved images, (3, h', w') each, and those of the oracle."""
    kept = kept_pixels(x, params)
    for i, image in enumerate(x):
        truth = oracle.carve(image.permute(1, 2, 0).double().numpy(), {k: v[i].numpy() for k, v in params.items()})
        truth = torch.from_numpy(truth).permute(2, 0, 1)
        yield image.double().flatten(1)[:, kept[i]][:, : truth.shape[1], : truth.shape[2]], truth


@pytest.fixture(params=["host", "device"])
def path(request, monkeypatch):
    """Select one of the two searches, on the CPU."""
    if request.param == "device":
        monkeypatch.setattr(module, "fits", lambda x: False)


def test_seam_carving_is_the_dynamic_programme():
    assert_fidelity(SEAM_CARVING, oracle.seam_carving, mean=0.01, tail=0.05, seeds=2)
    assert_contract(SEAM_CARVING)
    assert_exact_gradient(SEAM_CARVING)


def test_every_seam_is_the_oracles(path):
    for size in ((64, 64), (53, 90), (32, 33)):
        two_levels = (photographs(*size) > 0.5).float()  # full of ties
        x = torch.cat([photographs(*size), two_levels, torch.full((1, 3, *size), 0.3)])
        for ours, truth in carved(x, SEAM_CARVING.draw(keys(len(x), seed=size[0]), size)):
            assert torch.equal(ours, truth)


def test_seams_of_a_large_image_are_the_oracles(path):
    x = photographs(224, 224)[1:3]
    params = {
        "both": torch.tensor([True, False]),
        "vertical": torch.tensor([False] * 2),
        "count": torch.tensor([[12, 9], [11, 44]]),
    }
    for ours, truth in carved(x, params):
        assert torch.equal(ours, truth)


def test_the_direction_and_the_counts():
    x = photographs(64, 80)
    params = {
        "both": torch.tensor([True, True, False, False]),
        "vertical": torch.tensor([True, False, True, False]),
        "count": torch.tensor([[5, 7]] * 4),
    }
    vertical, horizontal = module._counts(params)
    assert vertical.tolist() == [5, 5, 5, 0] and horizontal.tolist() == [7, 7, 0, 7]
    for i, (h, w) in enumerate(((57, 75), (57, 75), (64, 75), (57, 80))):
        kept = kept_pixels(x, params)[i]
        assert kept[:h, :w].unique().numel() == h * w
        assert torch.equal(kept[h:], kept[h - 1 : h].expand_as(kept[h:]))


def test_a_path_of_least_energy_is_removed_first(path):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 40, 48, generator=generator).expand(1, 3, 40, 48).clone()
    middle = 20 + torch.tensor([round(6 * torch.sin(torch.tensor(r / 7)).item()) for r in range(40)])
    flat = (torch.arange(48) - middle[:, None]).abs() <= 3  # a winding band without contrast
    x[:, :, flat] = 0.5
    params = {"both": torch.tensor([False]), "vertical": torch.tensor([True]), "count": torch.tensor([[2, 2]])}
    kept = kept_pixels(x, params)[0, :, :46]
    gone = torch.ones(40 * 48, dtype=torch.bool)
    gone[kept.flatten()] = False
    assert gone.sum() == 80 and (gone.view(40, 48) <= flat).all()


def test_coins_are_fair_and_counts_scale_with_their_side():
    for size, columns, rows in (((256, 256), (10, 50), (10, 50)), ((128, 512), (20, 100), (5, 25)), ((32, 48), (2, 9), (1, 6))):
        params = SEAM_CARVING.draw(keys(20_000), size)
        assert params["count"].amin(0).tolist() == [columns[0], rows[0]]
        assert params["count"].amax(0).tolist() == [columns[1], rows[1]]
        assert abs(params["both"].float().mean() - 0.5) < 0.02 and abs(params["vertical"].float().mean() - 0.5) < 0.02
