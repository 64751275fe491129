"""Check what every transform must do: its contract, its distance from an oracle, its gradient."""

import numpy as np
import torch
from torch import Tensor

from bart.types import Gradient, Transform
from tests.support.images import keys, photographs


def errors(transform: Transform, oracle, x: Tensor, seed: int = 0) -> np.ndarray:
    """Return |apply - oracle| in units of 1/255, all pixels of all images, each image with its own parameters; both clipped."""
    params = transform.draw(keys(len(x), seed), tuple(x.shape[-2:]))
    ours = transform.apply(x, params).clamp(0, 1).permute(0, 2, 3, 1).double().numpy()
    images = x.permute(0, 2, 3, 1).double().numpy()
    truth = [oracle(image, {k: v[i].numpy() for k, v in params.items()}) for i, image in enumerate(images)]
    return np.abs(ours - np.clip(np.stack(truth), 0, 1)).ravel() * 255


def assert_fidelity(transform: Transform, oracle, mean: float = 0.5, tail: float = 2.0, seeds: int = 3) -> None:
    """Check the mean absolute error and its 99.9th percentile, in 1/255, over photographs of several sizes and draws."""
    for size in ((224, 224), (64, 64), (97, 131), (32, 32)):
        found = np.concatenate([errors(transform, oracle, photographs(*size), seed) for seed in range(seeds)])
        assert found.mean() <= mean, f"{transform.name} at {size}: mean {found.mean():.3f}/255"
        assert np.quantile(found, 0.999) <= tail, f"{transform.name} at {size}: p99.9 {np.quantile(found, 0.999):.3f}/255"


def assert_contract(transform: Transform) -> None:
    """Check shapes, purity, independence of the batch, and finite values and gradients on degenerate images."""
    height, width = 48, 40
    flat = torch.stack([torch.full((3, height, width), v) for v in (0.0, 1.0, 0.5)])
    saturated = (photographs(height, width) > 0.5).float()
    x = torch.cat([flat, saturated, photographs(height, width)])
    params = transform.draw(keys(len(x)), (height, width))
    assert all(len(value) == len(x) for value in params.values())
    before = x.clone()
    y = transform.apply(x, params)
    assert y.shape == x.shape and y.dtype == x.dtype and torch.isfinite(y).all()
    assert torch.equal(x, before), "apply wrote into its input"
    assert torch.equal(transform.apply(x, params), y), "apply is not a function"

    alone = [transform.apply(x[i : i + 1], {k: v[i : i + 1] for k, v in params.items()}) for i in range(len(x))]
    torch.testing.assert_close(torch.cat(alone), y, atol=2e-6, rtol=0, msg="an image depends on its batch")

    coded = transform.conditioning(params, (height, width))
    assert coded.shape[0] == len(x) and (coded >= 0).all() and (coded <= 1).all()

    if transform.gradient is not Gradient.NONE:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(transform.apply(leaf, params).clamp(0, 1).square().sum(), leaf)
        assert torch.isfinite(gradient).all()
    else:
        assert not transform.apply(x.clone().requires_grad_(), params).requires_grad


def assert_exact_gradient(transform: Transform, directions: int = 6, step: float = 1e-6, tolerance: float = 1e-5) -> None:
    """Hold autograd to finite differences along random directions, in double precision, on a smooth, unsaturated image."""
    x = (photographs(32, 36).double() * 0.6 + 0.2) + 1e-3 * torch.rand(4, 3, 32, 36, generator=torch.Generator().manual_seed(0))
    params = transform.draw(keys(len(x)), (32, 36))
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)

    def value(images: Tensor) -> Tensor:
        return (transform.apply(images, params) * weight).flatten(1).sum(1)

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
    for i in range(directions):
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2 + i), dtype=torch.double)
        numeric = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
        analytic = (gradient * direction).flatten(1).sum(1)
        largest = gradient.flatten(1).norm(dim=1).max().item()
        torch.testing.assert_close(numeric, analytic, rtol=tolerance, atol=tolerance * largest)
