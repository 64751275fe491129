"""Make tensors of torch's distributions from keys: every row of a tensor from its own key, whatever rows are beside it.

One key answers a whole tensor of any shape; n keys answer a tensor whose leading dimension is n, row by row. So a row's numbers
are the same alone and in any batch.
"""

import math

import torch
from torch import Tensor

from bart import rng

Shape = tuple[int, ...]


class NotByRow(Exception):
    """Say that a tensor has no leading dimension with a row for each key."""


def _row(keys: Tensor, shape: Shape) -> Shape:
    """Return the shape of what one key answers. Raises NotByRow."""
    if len(keys) == 1:
        return shape
    if not shape or shape[0] != len(keys):
        raise NotByRow(shape)
    return shape[1:]


def bits(keys: Tensor, shape: Shape, name: str) -> Tensor:
    """Return 63 random bits for each element, int64 of 0 or more, from `keys` (n,). Raises NotByRow."""
    return (rng.bits(keys, name, _row(keys, shape)) & (2**63 - 1)).reshape(shape)


def uniform(keys: Tensor, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform numbers in [0, 1): 2^24 equal steps, 2^53 of double, 2^11 of half and 2^8 of bfloat16 precision.

    Raises NotByRow.
    """
    if dtype == torch.float64:
        return (bits(keys, shape, "uniform") >> 10).double() * 2.0**-53
    values = rng.field(keys, _row(keys, shape)).reshape(shape)
    if dtype in (torch.float16, torch.bfloat16):  # rounding up would give 1
        steps = 2.0 ** (11 if dtype == torch.float16 else 8)
        return (values * steps).floor_().div_(steps).to(dtype)
    return values.to(dtype)


def normal(keys: Tensor, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return N(0, 1) numbers, two from each pair of uniform ones. Raises NotByRow. Source: Box and Muller, 1958."""
    row, exact = _row(keys, shape), torch.float64 if dtype == torch.float64 else torch.float32
    count = math.prod(row)
    u, v = uniform(keys, (len(keys), 2, (count + 1) // 2), exact).unbind(1)
    radius, angle = (1 - u).log_().mul_(-2).sqrt_(), v.mul_(2 * math.pi)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), 1)[:, :count].reshape(shape).to(dtype)


def exponential(keys: Tensor, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return exponential numbers of rate 1, never 0: some take their logarithm. Raises NotByRow."""
    values = uniform(keys, shape, torch.float64 if dtype == torch.float64 else torch.float32)
    return (1 - values).log_().neg_().clamp_min_(2.0**-26).to(dtype)


def integers(keys: Tensor, shape: Shape, low: int, high: int) -> Tensor:
    """Return uniform integers of low to high - 1, int64, without measurable bias. Raises NotByRow."""
    if high <= low:
        raise ValueError(f"random integers of {low} to {high} - 1: expected a range that is not empty")
    return bits(keys, shape, "integers") % min(high - low, 2**63 - 1) + low


def order(keys: Tensor, count: int) -> Tensor:
    """Return a uniformly random order of `count` items, (count,) int64, from one key. Raises NotByRow for more keys."""
    if len(keys) != 1:
        raise NotByRow((count,))
    return rng.order(keys, "order", count)[0]


def chosen(keys: Tensor, weights: Tensor, count: int, replacement: bool) -> Tensor:
    """Return `count` indices drawn by `weights` (..., c), int64 (..., count). Raises NotByRow.

    Without replacement by a race: the smallest of exponential times of rates `weights`. Source: Efraimidis and Spirakis, 2006.
    """
    exact = weights.double()
    if replacement:
        ladder = exact.cumsum(-1)
        height = uniform(keys, (*weights.shape[:-1], count), torch.float64) * ladder[..., -1:]
        return torch.searchsorted(ladder, height, right=True).clamp_max_(weights.shape[-1] - 1)
    return (exponential(keys, tuple(weights.shape), torch.float64) / exact).topk(count, largest=False).indices
