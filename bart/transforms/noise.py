"""Add one of six kinds of noise per image, with the defaults of `skimage.util.random_noise`. Group 4, noise.

Every kind is a function of one uniform field, by the inverse of its distribution. So all six cost one field, the result is
monotone in it, and no image waits for the kind of another.

Poisson counts have 256 levels, those of an 8-bit photograph. scikit-image counts the distinct values of the whole image and
rounds them up to a power of two, which gives the same for such a photograph. Inside a barrage it would mean something else.
After most transforms almost every value is distinct: a photograph of 224 px would get 2^18 levels, and no noise that can be
seen. After colour precision to eighths it would get 16, and four times the noise. The number would jump when one value changes
in its last digit, so the noise in one corner would depend on rounding in the other, and have no derivative. With a fixed
number, the noise of a value depends on that value alone.

The gradient is for the given draw. Gaussian and speckle noise are linear in the image; salt and pepper let pass what they do
not replace. A Poisson count is a step function of the image and has no useful derivative: its gradient is that of its mean,
which is 1.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import rng
from bart.autograd import clip, straight_through
from bart.cpu_kernels import each
from bart.cpu_kernels.clip import fits
from bart.types import Gradient, Params, Size, Transform

KINDS = ("gaussian", "poisson", "salt", "pepper", "s&p", "speckle")
DEVIATION = 0.1
"""Standard deviation of gaussian and speckle noise, a variance of .01."""
AMOUNT = 0.05
"""Fraction of values that salt or pepper replaces; of s&p, half are salt."""
LEVELS = 256
"""Poisson counts per unit of intensity, for every image."""
_REPLACED = {"salt": (0.0, AMOUNT), "pepper": (AMOUNT, AMOUNT), "s&p": (AMOUNT / 2, AMOUNT)}
"""Below which uniform number a value becomes black, and below which black or white."""
EXACT_COUNTS = 6
"""Smaller Poisson counts come from the cumulative distribution itself, the others from its asymptotic inverse."""


def draw(keys: Tensor, size: Size) -> Params:
    """Return `kind` (n,) int 0..5, an index of `KINDS`, and `seed` (n,) of the field, one key an image."""
    return {"kind": rng.integers(keys, "kind", 0, len(KINDS) - 1), "seed": rng.bits(keys, "seed")}


def normal(uniform: Tensor) -> Tensor:
    """Return N(0, 1) from multiples of 2^-24 in [0, 1), each taken at the middle of its interval: symmetric, within +-5.4."""
    return torch.erfinv(2 * uniform - (1 - 2.0**-24)) * math.sqrt(2)


def poisson(mean: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Return Poisson counts by inversion: the least count whose cumulative probability is not below `uniform`.

    All have one shape. `mean` >= 0, any; `uniform` > 0; `normal` is the normal quantile of `uniform`. Cumulative probabilities
    are right within 6e-4 for every mean. Source of the asymptotic inverse: M. B. Giles, ACM TOMS 42, 7, 2016.
    """
    (root, term), square = _root_and_term(mean), normal * normal
    quantile = (square + 2).div_(root).mul_(-1 / 72).add_(root).mul_(normal)
    quantile.addcmul_(root, root).add_(square, alpha=1 / 6).add_(1 / 3)

    cumulative = term.clone()
    count = (uniform > cumulative).view(torch.uint8)
    for k in range(1, EXACT_COUNTS):
        term *= mean
        cumulative.add_(term, alpha=1 / math.factorial(k))
        count += (uniform > cumulative).view(torch.uint8)
    return torch.where(count < EXACT_COUNTS, count, quantile.floor_().clamp_min_(EXACT_COUNTS))


def _root_and_term(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square root of a mean, or 1, and exp(-mean).

    Far below 1, every likely count is below EXACT_COUNTS. exp(-80) is as good as 0, and not a denormal number, which is slow.
    """
    return mean.clamp_min(1).sqrt_(), mean.clamp_max(80).neg_().exp_()


def _eager(x: Tensor, params: Params) -> Tensor:
    """Add noise to the whole batch without waiting for the device."""
    kind = params["kind"][:, None, None, None]
    gaussian, poissonian, salt, pepper, both, speckle = (kind == i for i in range(len(KINDS)))
    uniform = rng.field(params["seed"], tuple(x.shape[1:])).to(x.dtype)
    deviate = normal(uniform)
    y = torch.addcmul(x, deviate, DEVIATION * speckle * x + DEVIATION * gaussian)

    above = uniform + 2.0**-25  # uniform > 0, as a cumulative probability may be 0
    counts = poisson(x.detach() * LEVELS, above, deviate).div_(LEVELS)
    y = torch.where(poissonian, straight_through(x, counts), y)

    black = AMOUNT * pepper + AMOUNT / 2 * both
    replaced = AMOUNT * (salt | pepper | both)
    return clip(torch.where(uniform < replaced, (uniform >= black).to(x.dtype), y))


class _Host(torch.autograd.Function):
    """Add noise to images on a CPU in float32, with compiled loops; each image pays for its own kind alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: Tensor, seed: Tensor) -> Tensor:
        y, passes = torch.empty(x.shape), torch.empty(x.shape, dtype=torch.bool)
        ctx.kinds, ctx.deviates = [KINDS[i] for i in kind.tolist()], {}
        halves = [((key & 0xFFFFFFFF), (key >> 32) & 0xFFFFFFFF) for key in rng.fold(seed, 0).tolist()]
        rows = [stack.flatten(1) for stack in (x.detach(), y, passes)]

        def one(i: int) -> None:
            deviate = _add_noise(ctx.kinds[i], *halves[i], *(row[i] for row in rows))
            if ctx.kinds[i] == "speckle":
                ctx.deviates[i] = deviate

        each(one, len(x))
        ctx.save_for_backward(passes)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        from bart.cpu_kernels import noise as kernels

        out = torch.empty(gradient.shape)
        given, passes, target = (stack.flatten(1).numpy() for stack in (gradient, ctx.saved_tensors[0], out))

        def one(i: int) -> None:
            if ctx.kinds[i] == "speckle":
                kernels.pass_on_scaled(given[i], passes[i], ctx.deviates[i].numpy(), np.float32(DEVIATION), target[i])
            else:
                kernels.pass_on(given[i], passes[i], target[i])

        each(one, len(out))
        return out, None, None


def _add_noise(kind: str, low: int, high: int, x: Tensor, y: Tensor, passes: Tensor) -> Tensor | None:
    """Write a noisy line to `y`, and where its derivative is not 0 to `passes`. Returns the normal deviates, if any."""
    from bart.cpu_kernels import noise as kernels

    uniform, result = torch.empty(x.shape), (y.numpy(), passes.numpy())
    kernels.field(low, high, uniform.numpy())
    if kind in _REPLACED:
        kernels.replace(x.numpy(), uniform.numpy(), *(np.float32(share) for share in _REPLACED[kind]), *result)
        return None
    deviate = normal(uniform)
    if kind == "poisson":
        mean = x * LEVELS
        numbers = (mean, *_root_and_term(mean), uniform.add_(2.0**-25), deviate)
        kernels.count(*(number.numpy() for number in numbers), LEVELS, *result)
    else:
        shares = (DEVIATION, 0.0) if kind == "gaussian" else (0.0, DEVIATION)
        kernels.add(x.numpy(), deviate.numpy(), *(np.float32(share) for share in shares), *result)
    return deviate


def apply(x: Tensor, params: Params) -> Tensor:
    """Add the noise of each image's kind and clip to [0, 1]. x (n, 3, h, w)."""
    if fits(x):
        noisy: Tensor = _Host.apply(x, params["kind"], params["seed"])
        return noisy
    return _eager(x, params)


NOISE = Transform("noise", "noise", draw, apply, Gradient.EXACT, {"kind": len(KINDS) - 1}, words={"kind": KINDS})
