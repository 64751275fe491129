"""Clip stacks of images on a CPU, with the derivative: one pass each way, where PyTorch needs three and converts masks to
numbers.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bart.cpu_kernels.base import each


def fits(x: Tensor) -> bool:
    """Return whether the compiled loops can take `x`: float32 on a CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def clipped(
    stacks: Sequence[Tensor], low: float, high: float, gather: Tensor | None = None, counts: Sequence[int] | None = None
) -> tuple[list[Tensor], Tensor]:
    """Return clip(stacks one after the other)[gather], cut into stacks of `counts` images, and which elements clipping left.

    stacks  (., ...) float32, n images together; none is copied
    gather  (n,) int64 (default: the order they are in); counts: of n images together (default: one stack)
    The last is bool, (n, ...), in the new order.
    """
    shape = stacks[0].shape[1:]
    outputs = [torch.empty((count, *shape)) for count in counts or [sum(map(len, stacks))]]
    inside = torch.empty((sum(map(len, outputs)), *shape), dtype=torch.bool)
    clip, (sources, targets, marks) = _compiled()[0], (_rows(stacks), _rows(outputs), _rows([inside]))
    places = _places(gather, len(sources))
    each(lambda i: clip(sources[places[i]], targets[i], marks[i], low, high), len(sources))
    return outputs, inside


def masked(
    gradients: Sequence[Tensor], inside: Tensor, scatter: Tensor | None = None, counts: Sequence[int] | None = None
) -> list[Tensor]:
    """Return (gradients * inside)[scatter], cut into stacks of `counts` images: the derivative of `clipped`."""
    outputs = [torch.empty((count, *inside.shape[1:])) for count in counts or [len(inside)]]
    mask, (sources, marks, targets) = _compiled()[1], (_rows(gradients), _rows([inside]), _rows(outputs))
    places = _places(scatter, len(sources))
    each(lambda i: mask(sources[places[i]], marks[places[i]], targets[i]), len(sources))
    return outputs


def _rows(stacks: Sequence[Tensor]) -> list[Any]:
    """Return the images of some stacks as NumPy arrays, one row each."""
    return [row for stack in stacks for row in stack.detach().contiguous().reshape(len(stack), stack[:1].numel()).numpy()]


def _places(order: Tensor | None, count: int) -> list[int]:
    """Return an order as a list; the identity for None."""
    return list(range(count)) if order is None else order.tolist()


@lru_cache(maxsize=1)
def _compiled() -> tuple[Any, Any]:
    """Compile `_clip` and `_mask` once; the machine code is cached beside this file."""
    from numba import njit

    return njit(nogil=True, cache=True)(_clip), njit(nogil=True, cache=True)(_mask)


def _clip(x: Any, y: Any, inside: Any, low: float, high: float) -> None:
    """Clip one row into `y` and mark the elements that did not change."""
    for i in range(len(x)):
        value = x[i]
        clipped = low if value < low else high if value > high else value  # NaN stays NaN, as in torch.clamp
        y[i] = clipped
        inside[i] = value == clipped


def _mask(gradient: Any, inside: Any, out: Any) -> None:
    """Multiply one row by its mask."""
    for i in range(len(out)):
        out[i] = gradient[i] * inside[i]  # a product keeps NaN and Inf visible
