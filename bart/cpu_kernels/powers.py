"""Apply the curves of colour spaces on a CPU: a power above a limit, a straight line below, with the bits of eager PyTorch.

PyTorch computes logarithms and exponentials, as only it has its bits. What comes before, after and in the backward pass is
compiled, one pass each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each
from bart.cpu_kernels.compiling import compiled


class Power(torch.autograd.Function):
    """Compute a curve of float32 images (n, ...).

    A curve has the numbers limit, exponent, before, divisor, scale, after, slope, fall, start: it is
    scale ((x + before) / divisor) ** exponent + after for x > limit, else x slope / fall + start.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, curve: Sequence[float]) -> Tensor:
        ctx.curve, x = curve, x.contiguous()
        powers, y = torch.empty_like(x), torch.empty_like(x)
        numbers = _numbers(curve)

        def one(i: int) -> None:
            lines = [stack[i].view(-1).detach().numpy() for stack in (x, powers, y)]
            _base(*lines[:2], *numbers)
            powers[i].log_().mul_(curve[1]).exp_()
            _join(*lines, *numbers)

        each(one, len(x))
        ctx.save_for_backward(x, powers)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, powers = ctx.saved_tensors
        gradient = gradient.contiguous()
        out, numbers = torch.empty_like(x), _numbers(ctx.curve)
        rows = [stack.view(len(x), -1).numpy() for stack in (gradient, x, powers, out)]
        each(lambda i: _backward(*(row[i] for row in rows), *numbers), len(x))
        return out, None


def _numbers(curve: Sequence[float]) -> tuple[Any, ...]:
    """Return the numbers of a curve in single precision."""
    return tuple(np.float32(number) for number in curve)


@compiled
def _base(
    x: Image, out: Image, limit: float, exponent: float, before: float, divisor: float, scale: float, after: float,
    slope: float, fall: float, start: float,
) -> None:  # fmt: skip
    """Compute what is raised to a power."""
    for i in range(len(out)):
        out[i] = (max(x[i], limit) + before) / divisor


@compiled
def _join(
    x: Image, powers: Image, out: Image, limit: float, exponent: float, before: float, divisor: float, scale: float,
    after: float, slope: float, fall: float, start: float,
) -> None:  # fmt: skip
    """Choose between the power and the line."""
    for i in range(len(out)):
        curved, straight = powers[i] * scale + after, x[i] * slope / fall + start
        out[i] = curved if x[i] > limit else straight


@compiled
def _backward(
    gradient: Image, x: Image, powers: Image, out: Image, limit: float, exponent: float, before: float, divisor: float,
    scale: float, after: float, slope: float, fall: float, start: float,
) -> None:  # fmt: skip
    """Differentiate in the order of autograd."""
    for i in range(len(out)):
        curved = gradient[i] * scale * powers[i] * exponent / ((max(x[i], limit) + before) / divisor) / divisor
        out[i] = curved if x[i] > limit else gradient[i] * slope / fall
