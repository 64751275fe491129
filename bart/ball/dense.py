"""Define the norms in which every value of an image may move: L-inf and L2."""

import torch
from torch import Tensor

from bart import rng
from bart.ball.norm import Norm, broadcast, levelled

TOWARDS_RANGE, TOWARDS_HALVINGS = (-40.0, 40.0), 30
"""Exponents of 2 between which `_towards_l2` looks for t, and the steps of its bisection: to 2^-24 of an exponent."""


def _norms(x: Tensor) -> Tensor:
    """Return the L2 norm of each image, (n,)."""
    return x.flatten(1).norm(dim=1)


def _random_linf(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return uniform points of the L-inf ball."""
    return clean + eps * (2 * rng.field(seeds, tuple(clean.shape[1:])) - 1)


def _random_l2(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return uniform points of the L2 ball."""
    direction = rng.normal_field(seeds, tuple(clean.shape[1:]))
    dimension = direction[0].numel()
    radius = rng.uniform(seeds, "radius") ** (1 / dimension)
    return clean + eps * (direction * broadcast(radius / _norms(direction).clamp_min(1e-12)))


def _unit(direction: Tensor) -> Tensor:
    """Return the directions with an L2 norm of 1, however short they are; zeros stay zeros."""
    direction = levelled(direction)
    return direction / broadcast(_norms(direction).clamp_min(1e-12))


def _shrink_linf(x: Tensor, clean: Tensor, eps: float) -> Tensor:
    return (clean + (x - clean).clamp(-eps, eps)).clamp(0, 1)


def _shrink_l2(delta: Tensor, eps: float) -> Tensor:
    """Shorten `delta` to an L2 norm of at most `eps`."""
    return delta * broadcast((eps / _norms(delta).clamp_min(1e-12)).clamp_max(1))


def _project_l2(x: Tensor, clean: Tensor, eps: float) -> Tensor:
    """Return the nearest point of the ball, clipped to [0, 1]. The clip never leaves the ball, since `clean` is in [0, 1]."""
    return (clean + _shrink_l2(x - clean, eps)).clamp(0, 1)


def _towards_linf(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return clip(total / (softness mean|total|), -1, 1) eps from the image; the corner sign(total) eps where softness is 0."""
    scale = broadcast(softness) * total.abs().mean((1, 2, 3), keepdim=True)
    soft = (total / scale.clamp_min(torch.finfo(scale.dtype).tiny)).clamp(-1, 1)
    return (clean + eps * torch.where(scale > 0, soft, total.sign())).clamp(0, 1)


def _towards_l2(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return the point of the ball and of [0, 1] that is farthest along `total`; it has no softer form.

    It is clip(clean + t total, 0, 1) with the largest t in the ball (the conditions of Karush, Kuhn and Tucker), found by
    bisection: pixels that stop at black or white leave their share of the radius to the others.
    """
    direction = total / broadcast(total.abs().flatten(1).amax(1).clamp_min(torch.finfo(total.dtype).tiny))

    def moved(exponent: Tensor) -> Tensor:
        return (clean + broadcast(exponent.exp2()) * direction).clamp(0, 1) - clean

    low, high = (torch.full((len(total),), end, device=total.device, dtype=torch.float32) for end in TOWARDS_RANGE)
    for _ in range(TOWARDS_HALVINGS):
        middle = (low + high) / 2
        inside = _norms(moved(middle)) <= eps
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return clean + _shrink_l2(moved(low), eps)


LINF = Norm(_random_linf, _shrink_linf, torch.sign, lambda d: d.abs().flatten(1).amax(1), _towards_linf)
L2 = Norm(_random_l2, _project_l2, _unit, _norms, _towards_l2)
