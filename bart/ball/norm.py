"""Describe a norm by what attacks need of it. Images (n, 3, h, w) float32 in [0, 1], one value per image (n,)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """Hold what differs between norms.

    random      (clean, seeds, eps) -> a random point of the ball, which may leave [0, 1]
    project     (x, clean, eps) -> a point of the ball and of [0, 1]
    steepest    (direction) -> the step of length 1 that ascends most; None for a norm in which steps have no length
    size        (delta) -> the length of each perturbation, (n,)
    towards     (clean, total, eps, softness) -> the answer to a sum of gradients (`Ball.towards`)
    unit        the length of a perturbation in 8-bit levels, divided by its length in [0, 1]: 255; 1 where values are counted
    """

    random: Callable[[Tensor, Tensor, float], Tensor]
    project: Callable[[Tensor, Tensor, float], Tensor]
    steepest: Callable[[Tensor], Tensor] | None
    size: Callable[[Tensor], Tensor]
    towards: Callable[[Tensor, Tensor, float, Tensor], Tensor]
    unit: int = 255


def broadcast(values: Tensor) -> Tensor:
    """Return values (n,) as (n, 1, 1, 1)."""
    return values[:, None, None, None]


def levelled(x: Tensor) -> Tensor:
    """Return images (n, 3, h, w), each times the power of two that brings its largest entry to between 0.5 and 1.

    So neither squares nor sums underflow or overflow. A power of two changes no digit: what does not depend on the length of
    `x`, such as its direction, stays the same bit for bit.
    """
    largest = x.abs().flatten(1).amax(1).clamp_min(torch.finfo(x.dtype).tiny)
    return x * broadcast(torch.frexp(largest).mantissa / largest)


def room(clean: Tensor, direction: Tensor) -> Tensor:
    """Return how far each value can move from `clean` along `direction` within [0, 1]; 0 where the direction is 0."""
    return torch.where(direction > 0, 1 - clean, torch.where(direction < 0, clean, 0))
