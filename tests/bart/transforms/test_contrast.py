from dataclasses import replace

import numpy as np
import torch

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
    params = CONTRAST_STRETCH.draw(keys(4), (32, 36))
    params["on"][:] = True
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
    for name, first in (("low", 1), ("high", 96)):
        counts = torch.stack([torch.bincount(column - first, minlength=4) for column in params[name].unbind(1)])
        assert counts.shape == (3, 4) and abs(counts - 5000).max() < 5 * 5000**0.5
    assert abs(params["on"].float().mean(0) - 0.5).max() < 0.02
    drawn = torch.cat([params["on"], params["low"], params["high"], bins], dim=1).T.double()
    assert (torch.corrcoef(drawn) - torch.eye(12)).abs().max() < 0.04


def test_both_ways_to_the_tails_agree_with_numpy():
    for x in (photographs(97, 131), torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))):
        for ours, other in zip(contrast._tails(x, 43), contrast._tails_host(x, 43), strict=True):
            assert torch.equal(ours, other)
    x = torch.rand(4, 3, 41, 57, generator=torch.Generator().manual_seed(0))
    for q in (1, 2, 3, 4):
        low, high = percentiles(x, {"low": torch.full((4, 3), q), "high": torch.full((4, 3), 100 - q)})
        truth = np.percentile(x.double().flatten(2).numpy(), [q, 100 - q], axis=2)
        np.testing.assert_allclose(torch.stack([low, high])[..., 0, 0].numpy(), truth, atol=1e-6)


def test_channels_that_are_off_do_not_change():
    x = photographs(32, 40).requires_grad_()
    params = CONTRAST_STRETCH.draw(keys(4), (32, 40))
    off = ~params["on"]
    assert off.any() and not off.all()
    y = CONTRAST_STRETCH.apply(x, params)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y[off], x[off]) and (gradient[off] == 1).all() and (gradient[~off] != 1).all()


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


def test_rounding_of_a_constant_channel_is_not_stretched():
    x = (0.3 + 3e-8 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))).requires_grad_()
    params = {"on": torch.ones(1, 3, dtype=torch.bool), "low": torch.full((1, 3), 1), "high": torch.full((1, 3), 99)}
    y = CONTRAST_STRETCH.apply(x, params)
    torch.testing.assert_close(y, torch.full_like(y, 0.3), atol=1e-6, rtol=0)
    assert torch.autograd.grad(y.sum(), x)[0].abs().max() <= 1
