"""Clip stacks of images on a CPU, with the derivative: one pass each way, where PyTorch needs three and converts masks to
numbers.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bart.cpu_kernels.base import each


def fits(x: Tensor) -> bool:
    """Return whether the compiled loops can take `x`: float32 on a CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def clipped(x: Tensor, low: float, high: float, gather: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return clip(x)[gather] of a stack (n, ...) float32, and which of its elements clipping did not change, bool."""
    x = x.contiguous()
    y, inside = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
    clip, (sources, targets, marks) = _compiled()[0], _rows(x, y, inside)
    places = _places(gather, len(x))
    each(lambda i: clip(sources[places[i]], targets[i], marks[i], low, high), len(x))
    return y, inside


def masked(gradient: Tensor, inside: Tensor, scatter: Tensor | None = None) -> Tensor:
    """Return (gradient * inside)[scatter], each of the shape of the stack."""
    gradient = gradient.contiguous()
    out = torch.empty_like(gradient)
    mask, (sources, marks, targets) = _compiled()[1], _rows(gradient, inside, out)
    places = _places(scatter, len(out))
    each(lambda i: mask(sources[places[i]], marks[places[i]], targets[i]), len(out))
    return out


def _rows(*stacks: Tensor) -> list[Any]:
    """Return the stacks as NumPy arrays, one row per image."""
    return [stack.detach().reshape(len(stack), -1).numpy() for stack in stacks]


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
