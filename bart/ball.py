"""Define the ball around an image: where an attack starts, how it steps, and which image is stored.

Images (n, 3, h, w) float32 in [0, 1]; `eps` and steps in the same unit (8 / 255, not 8).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng


def _broadcast(values: Tensor) -> Tensor:
    """Return values (n,) as (n, 1, 1, 1)."""
    return values[:, None, None, None]


def levelled(x: Tensor) -> Tensor:
    """Return images (n, 3, h, w), each times the power of two that brings its largest entry to between 0.5 and 1.

    So neither squares nor sums underflow or overflow. A power of two changes no digit: what does not depend on the length of
    `x`, such as its direction, stays the same bit for bit.
    """
    largest = x.abs().flatten(1).amax(1).clamp_min(torch.finfo(x.dtype).tiny)
    return x * _broadcast(torch.frexp(largest).mantissa / largest)


def _norms(x: Tensor) -> Tensor:
    """Return the L2 norm of each image, (n,)."""
    return x.flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Norm:
    """Hold what differs between norms: a random point of the ball, the steepest step of length 1, the projection, the length,
    and the answer to a sum of gradients (`Ball.towards`).
    """

    random: Callable[[Tensor, tuple[int, ...]], Tensor]
    steepest: Callable[[Tensor], Tensor]
    shrink: Callable[[Tensor, float], Tensor]
    size: Callable[[Tensor], Tensor]
    towards: Callable[[Tensor, Tensor, float, Tensor], Tensor]


def _random_linf(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return uniform points of the L-inf ball of radius 1."""
    return 2 * rng.field(seeds, shape) - 1


def _random_l2(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return uniform points of the L2 ball of radius 1."""
    direction = rng.normal_field(seeds, shape)
    dimension = direction[0].numel()
    radius = rng.uniform(seeds, "radius") ** (1 / dimension)
    return direction * _broadcast(radius / _norms(direction).clamp_min(1e-12))


def _unit(direction: Tensor) -> Tensor:
    """Return the directions with an L2 norm of 1, however short they are; zeros stay zeros."""
    direction = levelled(direction)
    return direction / _broadcast(_norms(direction).clamp_min(1e-12))


def _shrink_l2(delta: Tensor, eps: float) -> Tensor:
    """Shorten `delta` to an L2 norm of at most `eps`."""
    return delta * _broadcast((eps / _norms(delta).clamp_min(1e-12)).clamp_max(1))


TOWARDS_RANGE, TOWARDS_HALVINGS = (-40.0, 40.0), 30
"""Exponents of 2 between which `_towards_l2` looks for t, and the steps of its bisection: to 2^-24 of an exponent."""


def _towards_linf(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return clip(total / (softness mean|total|), -1, 1) eps from the image; the corner sign(total) eps where softness is 0."""
    scale = _broadcast(softness) * total.abs().mean((1, 2, 3), keepdim=True)
    soft = (total / scale.clamp_min(torch.finfo(scale.dtype).tiny)).clamp(-1, 1)
    return (clean + eps * torch.where(scale > 0, soft, total.sign())).clamp(0, 1)


def _towards_l2(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return the point of the ball and of [0, 1] that is farthest along `total`; it has no softer form.

    It is clip(clean + t total, 0, 1) with the largest t in the ball (the conditions of Karush, Kuhn and Tucker), found by
    bisection: pixels that stop at black or white leave their share of the radius to the others.
    """
    direction = total / _broadcast(total.abs().flatten(1).amax(1).clamp_min(torch.finfo(total.dtype).tiny))

    def moved(exponent: Tensor) -> Tensor:
        return (clean + _broadcast(exponent.exp2()) * direction).clamp(0, 1) - clean

    low, high = (torch.full((len(total),), end, device=total.device) for end in TOWARDS_RANGE)
    for _ in range(TOWARDS_HALVINGS):
        middle = (low + high) / 2
        inside = _norms(moved(middle)) <= eps
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return clean + _shrink_l2(moved(low), eps)


NORMS: dict[str, Norm] = {
    "linf": Norm(
        _random_linf,
        torch.sign,
        lambda delta, eps: delta.clamp(-eps, eps),
        lambda d: d.abs().flatten(1).amax(1),
        _towards_linf,
    ),
    "l2": Norm(_random_l2, _unit, _shrink_l2, _norms, _towards_l2),
}
"""Norms by name."""


HALVINGS = 20
"""Steps of the bisection in `Ball.store`."""


@dataclass(frozen=True)
class Ball:
    """Describe the images within `eps` of a clean one, in a norm of `NORMS`, and in [0, 1].

    Raises ValueError for an unknown norm or a radius that is not positive.
    """

    norm: str
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS or not self.eps > 0:
            raise ValueError(f"ball {self.norm!r}, {self.eps}: expected a norm of {', '.join(NORMS)} and a positive radius")

    def start(self, clean: Tensor, seeds: Tensor) -> Tensor:
        """Return a uniformly random point of the ball around `clean`, from one seed per image, clipped to [0, 1]."""
        return (clean + self.eps * NORMS[self.norm].random(seeds, tuple(clean.shape[1:]))).clamp(0, 1)

    def project(self, x: Tensor, clean: Tensor) -> Tensor:
        """Return the nearest point of the ball, then clip it to [0, 1].

        The clip never leaves the ball, since `clean` is in [0, 1].
        """
        return (clean + NORMS[self.norm].shrink(x - clean, self.eps)).clamp(0, 1)

    def steepest(self, direction: Tensor) -> Tensor:
        """Return the step of length 1 that ascends most along `direction`: its sign for L-inf, its unit vector for L2."""
        return NORMS[self.norm].steepest(direction)

    def step(self, x: Tensor, direction: Tensor, size: float, clean: Tensor) -> Tensor:
        """Return `x` after a step of length `size` along the steepest ascent, projected."""
        return self.project(x + size * self.steepest(direction), clean)

    def towards(self, total: Tensor, clean: Tensor, softness: Tensor | float = 0.0) -> Tensor:
        """Return the point of the ball that a sum of gradients `total` (n, 3, h, w) asks for, clipped to [0, 1].

        softness 0, a number or (n,): the farthest point along `total`, a corner of the L-inf ball. More, in L-inf only: pixels
        whose sum is smaller than `softness` times the mean magnitude move in proportion to it.
        """
        softness = torch.as_tensor(softness, dtype=total.dtype, device=total.device).expand(len(total))
        return NORMS[self.norm].towards(clean, total, self.eps, softness)

    def store(self, x: Tensor, clean: Tensor) -> Tensor:
        """Return `x` as it will be stored: 8 bits, and still inside the ball. (n, 3, h, w) uint8.

        Pixels are rounded to the nearest level. If rounding puts an image outside the ball, the image is first moved towards
        the clean one, as little as necessary. `clean` must hold 8-bit values.
        """
        levels = torch.round(255 * clean)
        delta, most = 255 * x - levels, 255 * self.eps + 1e-3
        inside, outside = torch.zeros(len(x), device=x.device), torch.full((len(x),), 2.0, device=x.device)
        for _ in range(HALVINGS):  # bisect for the largest share of delta inside after rounding; the first trial is 1
            share = (inside + outside) / 2
            fits = NORMS[self.norm].size(torch.round(delta * _broadcast(share))) <= most
            inside, outside = torch.where(fits, share, inside).clamp_max(1), torch.where(fits, outside.clamp_max(1), share)
        return (levels + torch.round(delta * _broadcast(inside))).clamp(0, 255).to(torch.uint8)

    def distance(self, stored: Tensor, clean: Tensor, norm: str | None = None) -> Tensor:
        """Return the distance of stored uint8 images from `clean`, (n,) float32, in the unit of `eps` (default: the norm of
        the ball).
        """
        return NORMS[norm or self.norm].size(stored.float() - torch.round(255 * clean)) / 255
