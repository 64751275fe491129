from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from bart.transforms import contrast
from bart.transforms.contrast import CONTRAST_STRETCH, HIST_EQ, percentiles, stretch
from tests.oracles import contrast as oracle
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def test_hist_eq_is_scikit_images():
    assert_fidelity(HIST_EQ, oracle.hist_eq, mean=0.01, tail=0.05)
    assert_contract(HIST_EQ)


def test_contrast_stretch_is_scikit_images():
    assert_fidelity(CONTRAST_STRETCH, oracle.contrast_stretch, mean=0.01, tail=0.05)
    assert_contract(CONTRAST_STRETCH)


def test_the_stretch_has_its_exact_gradient_given_the_percentiles():
    """Fix the percentiles of the check's images, which differ by less than 1e-4 from these."""
    params = CONTRAST_STRETCH.draw(keys(4), (32, 36)) | {"per_channel": torch.tensor([True, False, True, False])}
    low, high = percentiles(photographs(32, 36).double() * 0.6 + 0.2, params)
    fixed = replace(CONTRAST_STRETCH, eager=lambda x, _: stretch(x, low, high))
    assert_exact_gradient(fixed)
    x = (photographs(32, 36).double() * 0.6 + 0.2).requires_grad_()
    (ours,) = torch.autograd.grad(CONTRAST_STRETCH.apply(x, params).sum(), x)
    (given,) = torch.autograd.grad(stretch(x, low, high).sum(), x)
    assert torch.equal(ours, given) and (ours != 0).any()


def test_ranges_and_distributions():
    bins = HIST_EQ.draw(keys(20_000), (224, 224))["bins"]
    assert bins.amin(0).tolist() == [40] * 3 and bins.amax(0).tolist() == [256] * 3
    counts = torch.bincount(bins.flatten())[40:]
    assert abs(counts - 60_000 / 217).max() < 5 * (60_000 / 217) ** 0.5
    params = CONTRAST_STRETCH.draw(keys(20_000), (224, 224))
    assert params["per_channel"].shape == (20_000,) and abs(params["per_channel"].float().mean() - 0.5) < 0.02
    for name, first in (("low", 1), ("high", 96)):
        for column in params[name].unbind(1):
            assert stats.kstest(column.double().numpy(), "uniform", (first, 3)).pvalue > 1e-3, name
    drawn = torch.cat([params["per_channel"][:, None], params["low"], params["high"], bins], dim=1).T.double()
    assert (torch.corrcoef(drawn) - torch.eye(10)).abs().max() < 0.04


def test_p_t_is_one_coin_and_two_times_three_percentiles():
    params = {"per_channel": torch.tensor([True]), "low": torch.tensor([[1.0, 2, 4]]), "high": torch.tensor([[99.0, 49.5, 0]])}
    told = CONTRAST_STRETCH.conditioning(params, (224, 224))
    torch.testing.assert_close(told, torch.tensor([[1, 0.25, 0.5, 1, 1, 0.5, 0]]))


@pytest.mark.parametrize("size", [(97, 131), (41, 57), (1, 1), (2, 1), (3, 5)])
def test_both_ways_to_percentiles_agree_with_numpy(size):
    random = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    x = torch.cat([photographs(97, 131)[..., : size[0], : size[1]], random])
    params = CONTRAST_STRETCH.draw(keys(len(x), 3), size)
    assert params["per_channel"].any() and not params["per_channel"].all()
    most = torch.where(params["per_channel"][:, None], x[0, 0].numel(), x[0].numel())
    ranks = (torch.rand(len(x), 3, 4) * most[..., None]).long()
    ranks[:, :, 0], ranks[:, :, 1] = 0, most - 1
    ranks = torch.where(params["per_channel"][:, None, None], ranks, ranks[:, :1])
    assert torch.equal(*(pick(x, params["per_channel"], ranks) for pick in (contrast._picked, contrast._picked_host)))
    for images in (x, x.double()):
        low, high = percentiles(images, params)
        for i, image in enumerate(x.double().numpy()):
            for ours, percent in ((low, params["low"]), (high, params["high"])):
                if params["per_channel"][i]:
                    truth = [np.percentile(image[c], float(percent[i, c])) for c in range(3)]
                else:
                    truth = [np.percentile(image, float(percent[i, 0]))] * 3
                np.testing.assert_allclose(ours[i, :, 0, 0].numpy(), truth, atol=1e-6)


def test_every_image_is_stretched_and_a_whole_one_keeps_the_order_of_its_channels():
    x = photographs(32, 40) * 0.5 + 0.2
    for per_channel in (True, False):
        params = CONTRAST_STRETCH.draw(keys(4), (32, 40)) | {"per_channel": torch.full((4,), per_channel)}
        y = CONTRAST_STRETCH.apply(x, params)
        low, high = (y.amin((2, 3)), y.amax((2, 3))) if per_channel else (y.amin((1, 2, 3)), y.amax((1, 2, 3)))
        assert (low == 0).all() and (high == 1).all(), "a range that is not stretched to its ends"
    order = (y[:, 0] - y[:, 1]) * (x[:, 0] - x[:, 1])
    assert (order >= 0).all(), "channels of one map changed their order"


def test_channels_without_contrast():
    """Expect what scikit-image does: a constant channel keeps its value, or takes the cumulative histogram's only value."""
    x = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 3, 32, 32).contiguous()
    x[2, :, 0, 0] = 0.25  # constant but for one pixel: the percentiles agree
    for transform, truth in ((CONTRAST_STRETCH, oracle.contrast_stretch), (HIST_EQ, oracle.hist_eq)):
        for seed in range(4):
            params = transform.draw(keys(3, seed), (32, 32))
            ours = transform.apply(x, params).permute(0, 2, 3, 1)
            for i, image in enumerate(x.permute(0, 2, 3, 1).double().numpy()):
                expected = truth(image, {k: v[i].numpy() for k, v in params.items()})
                np.testing.assert_allclose(ours[i].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_no_pixel_alone_changes_a_constant_channel(value, per_channel):
    """Hold the gradient to finite differences of the function itself, percentiles computed again, pixel by pixel."""
    x = torch.full((1, 3, 16, 16), value, dtype=torch.double)
    if per_channel:
        x[0, 1] = photographs(16, 16, 1)[0, 1]  # the others stay without contrast
    params = CONTRAST_STRETCH.draw(keys(1), (16, 16)) | {"per_channel": torch.tensor([per_channel])}
    leaf = x.clone().requires_grad_()
    y = CONTRAST_STRETCH.apply(leaf, params)
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    assert torch.equal(y[0, 0], x[0, 0]) and (gradient[0, 1] != 0).any() == per_channel
    for channel, row, column in ((0, 0, 0), (0, 7, 9), (2, 15, 15)):
        for step in (-1e-3, 1e-3):
            moved = x.clone()
            moved[0, channel, row, column] += step
            numeric = (CONTRAST_STRETCH.unclipped(moved, params) - y).sum() / step
            assert gradient[0, channel, row, column] == numeric == 0


def test_rounding_of_a_constant_channel_is_not_stretched():
    x = (0.3 + 3e-8 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))).requires_grad_()
    for per_channel in (True, False):
        ends = {"low": torch.full((1, 3), 1.0), "high": torch.full((1, 3), 99.0)}
        y = CONTRAST_STRETCH.apply(x, {"per_channel": torch.tensor([per_channel]), **ends})
        torch.testing.assert_close(y, torch.full_like(y, 0.3), atol=1e-6, rtol=0)
        assert (torch.autograd.grad(y.sum(), x)[0] == 0).all()
