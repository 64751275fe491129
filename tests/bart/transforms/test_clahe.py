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


def test_all_channels_at_once_as_on_a_device():
    for size in ((64, 64), (97, 131), (32, 60)):
        x = torch.cat([photographs(*size), (photographs(*size) > 0.5).float()])
        params = CLAHE.draw(keys(len(x)), size)
        torch.testing.assert_close(module._device(x, params), module._host(x, params), atol=1e-6, rtol=0)
        assert torch.equal(module._device(x, params)[~params["on"]], x[~params["on"]])


def test_extreme_tiles_and_limits():
    """Use tiles of both range ends that divide the image, leave a remainder, or are odd; images with few grey levels."""
    x = torch.cat([photographs(60, 77), photographs(60, 77).mul(3).round().div(3)])
    for height, width, limit in ((6, 10, 0.01), (10, 6, 0.04), (7, 9, 0.025)):
        params = {
            "on": torch.ones(8, 3, dtype=torch.bool),
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
        assert abs(params["on"].float().mean(0) - 0.5).max() < 0.02
