import numpy as np
import torch
from skimage.exposure._adapthist import clip_histogram

from bart.transforms import clahe as module
from bart.transforms.clahe import CLAHE
from tests.oracles.contrast import clahe
from tests.support.contracts.transforms import assert_contract, assert_fidelity
from tests.support.images import keys, photographs


def test_clahe_is_scikit_images():
    assert_fidelity(CLAHE, clahe, mean=0.01, tail=0.05)
    assert_contract(CLAHE)


def test_all_planes_at_once_as_on_a_device():
    for size in ((64, 64), (97, 131), (32, 60)):
        x = torch.cat([photographs(*size), (photographs(*size) > 0.5).float()])
        params = CLAHE.draw(keys(len(x)), size) | {"per_channel": torch.ones(len(x), dtype=torch.bool)}
        tile = torch.stack([params["tile_height"], params["tile_width"]], dim=2).flatten(0, 1)
        every = module._equalise(x.flatten(0, 1), tile, params["clip_limit"].flatten())
        torch.testing.assert_close(CLAHE.apply(x, params).flatten(0, 1), every, atol=1e-6, rtol=0)


def test_the_value_of_hsv_changes_and_hue_and_saturation_stay():
    x = torch.cat([photographs(60, 77), (photographs(60, 77) - 0.4).clamp(0, 1)])
    params = CLAHE.draw(keys(len(x)), (60, 77)) | {"per_channel": torch.zeros(len(x), dtype=torch.bool)}
    y = CLAHE.apply(x, params)
    value = x.amax(1, keepdim=True)
    first = {name: v[:, :1].expand(-1, 3) for name, v in params.items() if name != "per_channel"}
    alone = CLAHE.apply(value.expand(-1, 3, -1, -1), first | {"per_channel": ~params["per_channel"]})
    assert torch.equal(y.amax(1), alone[:, 0]), "the largest channel is not CLAHE of the largest channel"
    black = (value == 0).expand_as(x)
    assert black[4:].any() and torch.equal(y[black], alone[black])
    torch.testing.assert_close((y * value)[~black], (x * y.amax(1, keepdim=True))[~black], atol=1e-6, rtol=0)
    changed = params | {name: torch.cat([v[:, :1], v[:, 1:].flip(0)], dim=1) for name, v in params.items() if v.dim() == 2}
    assert torch.equal(CLAHE.apply(x, changed), y), "parameters of other channels count"


def test_extreme_tiles_and_limits():
    """Use tiles of both range ends that divide the image, leave a remainder, or are odd; images with few grey levels."""
    x = torch.cat([photographs(60, 77), photographs(60, 77).mul(3).round().div(3)])
    for height, width, limit in ((6, 10, 0.01), (10, 6, 0.04), (7, 9, 0.025)):
        params = {
            "per_channel": torch.arange(8) % 2 == 0,
            "tile_height": torch.full((8, 3), height),
            "tile_width": torch.full((8, 3), width),
            "clip_limit": torch.full((8, 3), limit),
        }
        ours = CLAHE.apply(x, params).permute(0, 2, 3, 1).numpy()
        for i, image in enumerate(x.permute(0, 2, 3, 1).double().numpy()):
            error = np.abs(ours[i] - clahe(image, {k: v[i].numpy() for k, v in params.items()})) * 255
            assert error.mean() < 0.02 and np.quantile(error, 0.999) < 0.05


def test_the_excess_is_spread_as_in_scikit_image():
    random = np.random.default_rng(0)
    for used, area, limit in ((3, 1369, 20), (40, 1369, 54), (150, 900, 9), (220, 484, 4), (20, 9, 1), (253, 700, 10)):
        weights = random.dirichlet(np.full(used, 0.5), size=200)
        counts = np.zeros((200, 256), int)
        for row, weight in zip(counts, weights, strict=True):
            row[random.permutation(253)[:used]] = random.multinomial(area, weight)
        top = torch.full((1, 1, 1), limit, dtype=torch.int32)
        ours = module._spread(*module._clip(torch.from_numpy(counts).int()[None], top), top)[0].numpy()
        truth = np.stack([clip_histogram(row.copy(), limit) for row in counts])
        np.testing.assert_array_equal(ours, truth)


def test_a_channel_without_contrast_stays_without():
    """Expect no contrast, where scikit-image makes white or speckles: its weighted sum has errors in the last digit."""
    x = torch.tensor([0.0, 0.3, 1.0])[:, None, None, None].expand(3, 3, 32, 32)
    params = CLAHE.draw(keys(3), (32, 32))
    ours = CLAHE.apply(x, params).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(x.permute(0, 2, 3, 1).double().numpy()):
        truth = clahe(image, {k: v[i].numpy() for k, v in params.items()})
        np.testing.assert_allclose(ours[i], np.broadcast_to(np.median(truth, axis=(0, 1)), truth.shape), atol=1e-6)


def test_tiles_follow_the_shorter_side():
    for size, ends in (((256, 256), (25, 42)), ((97, 300), (9, 16)), ((32, 32), (3, 5))):
        params = CLAHE.draw(keys(20_000), size)
        for name in ("tile_height", "tile_width"):
            counts = torch.bincount(params[name].flatten())[ends[0] :]
            assert len(counts) == ends[1] - ends[0] + 1 and params[name].min() == ends[0]
            assert abs(counts - 60_000 / len(counts)).max() < 5 * (60_000 / len(counts)) ** 0.5
        limit = params["clip_limit"]
        assert 0.01 <= limit.min() < 0.0101 and 0.0399 < limit.max() < 0.04
        assert params["per_channel"].shape == (20_000,) and abs(params["per_channel"].float().mean() - 0.5) < 0.02


def test_p_t_is_one_coin_and_three_times_three_numbers():
    params = {
        "per_channel": torch.tensor([True]),
        "tile_height": torch.tensor([[21, 28, 36]]),
        "tile_width": torch.tensor([[36, 21, 21]]),
        "clip_limit": torch.tensor([[0.01, 0.02, 0.04]]),
    }
    told = CLAHE.conditioning(params, (216, 216))
    torch.testing.assert_close(told, torch.tensor([[1, 21 / 36, 28 / 36, 1, 1, 21 / 36, 21 / 36, 0.25, 0.5, 1]]))
