"""Add two derivatives that autograd lacks: straight-through, and a clip that lets saturated pixels move."""

from typing import Any

import torch
from torch import Tensor

from bart.cpu_kernels import clip as cpu_clip


class _StraightThrough(torch.autograd.Function):
    """Return `y` forward, and pass the gradient to `x` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(x: Tensor, y: Tensor) -> Tensor:
    """Return the value of `y`, bit for bit, with the gradient of `x` (same shape)."""
    return _StraightThrough.apply(x, y)


class _Clip(torch.autograd.Function):
    """Clip forward, and mask the gradient where clipping changed a value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Any, high: Any) -> Tensor:
        ctx.on_host = cpu_clip.fits(x) and not isinstance(low, Tensor)
        if ctx.on_host:
            (y,), inside = cpu_clip.clipped([x], low, high)
        else:
            y = x.clamp(low, high)
            inside = y == x
        ctx.save_for_backward(inside)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        inside: Tensor = ctx.saved_tensors[0]
        return cpu_clip.masked([gradient], inside)[0] if ctx.on_host else gradient * inside, None, None


def clip(x: Tensor, low: float | Tensor = 0.0, high: float | Tensor = 1.0) -> Tensor:
    """Clip to [low, high], numbers or tensors that broadcast to `x`, with derivative 1 at both ends.

    torch's `clamp` has derivative 0 or one half there: a white pixel could never become darker.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        clipped: Tensor = _Clip.apply(x, low, high)
        return clipped
    return torch.clamp(x, low, high)  # type: ignore[arg-type]  # two numbers or two tensors
