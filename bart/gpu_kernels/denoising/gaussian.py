"""Blur by a Gaussian: one program blurs a strip of full rows of one plane, down its columns, then along its rows.

Between the two, the strip is in global memory, where only this program writes and reads it. Each plane has its own window: the
weights come from the recurrence of exp(-k k / (2 sigma sigma)) over k, in float64 as in the eager code, so none is stored.

The gradient is the transpose. The two directions commute, and along each a pixel collects values inside the image by the same
symmetric window. A pixel of the border also collects what its repetitions outside contributed.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.types import Params

STRIP, TILE_W = 8, 128
"""Rows and columns of a tile."""


@triton.jit
def _along(line, place, stride, length, sigma, TRANSPOSE: tl.constexpr):
    """Blur at `place` of lines of `length` pixels. `line` points at their beginnings; pixels are `stride` apart."""
    reach = tl.floor(4.0 * sigma + 0.5).to(tl.int32)
    nearer = tl.exp(-0.5 / (sigma * sigma))  # weight 1 over weight 0; each next quotient is smaller by its square
    square = nearer * nearer
    total, weight, quotient = 1.0 + 0.0 * sigma, 1.0 + 0.0 * sigma, nearer
    for _ in range(reach):
        weight *= quotient
        quotient *= square
        total += 2.0 * weight

    weight = 1.0 / total
    quotient = nearer
    tail = 0.5 + 0.5 * weight  # the sum of the weights from here outwards
    at_border = (place == 0) | (place == length - 1)
    value = tl.load(line + place * stride)
    if TRANSPOSE:
        value *= tl.where(at_border, tail.to(tl.float32), weight.to(tl.float32))
    else:
        value *= weight.to(tl.float32)
    for k in range(1, reach + 1):
        tail -= weight
        weight *= quotient
        quotient *= square
        if TRANSPOSE:
            before = tl.load(line + (place - k) * stride, mask=place >= k, other=0.0)
            after = tl.load(line + (place + k) * stride, mask=place + k < length, other=0.0)
            value += tl.where(at_border, tail.to(tl.float32), weight.to(tl.float32)) * (before + after)
        else:
            before = tl.load(line + tl.maximum(place - k, 0) * stride)
            after = tl.load(line + tl.minimum(place + k, length - 1) * stride)
            value += weight.to(tl.float32) * (before + after)
    return value


@triton.jit
def _blur_kernel(x, sigmas, halfway, out, height, width, TRANSPOSE: tl.constexpr, STRIP: tl.constexpr, TILE_W: tl.constexpr):
    """Blur one strip of one plane."""
    strips = tl.cdiv(height, STRIP)
    plane = (tl.program_id(0) // strips).to(tl.int64)
    sigma = tl.load(sigmas + plane).to(tl.float64)
    start = plane * height * width
    row = tl.program_id(0) % strips * STRIP + tl.arange(0, STRIP)[:, None]
    y = tl.minimum(row, height - 1)
    for left in range(0, width, TILE_W):
        column = left + tl.arange(0, TILE_W)[None, :]
        value = _along(x + start + tl.minimum(column, width - 1), y, width, height, sigma, TRANSPOSE)
        tl.store(halfway + start + y * width + column, value, mask=(row < height) & (column < width))
    tl.debug_barrier()  # a row's pixels come from all threads
    for left in range(0, width, TILE_W):
        column = left + tl.arange(0, TILE_W)[None, :]
        value = _along(halfway + start + y * width, tl.minimum(column, width - 1), 1, width, sigma, TRANSPOSE)
        tl.store(out + start + y * width + column, value, mask=(row < height) & (column < width))


def _blur(x: Tensor, sigma: Tensor, transpose: bool) -> Tensor:
    """Blur the planes of `x`, each with its own sigma, or apply the transpose."""
    n, channels, height, width = x.shape
    halfway, out = torch.empty_like(x), torch.empty_like(x)
    programs = n * channels * triton.cdiv(height, STRIP)
    constants = {"TRANSPOSE": transpose, "STRIP": STRIP, "TILE_W": TILE_W}
    launcher.launch(_blur_kernel, programs, x, sigma, halfway, out, height, width, **constants)
    return out


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sigma: Tensor) -> Tensor:
        ctx.save_for_backward(sigma)
        return _blur(x, sigma, transpose=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (sigma,) = ctx.saved_tensors
        return _blur(gradient.contiguous(), sigma, transpose=True), None


def gaussian_blur(x: Tensor, params: Params) -> Tensor:
    """Blur each channel with its own sigma, the border repeated outwards. One launch, and one for the gradient."""
    return _Blur.apply(x, params["sigma"])
