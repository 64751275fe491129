"""Blur by a Gaussian: one program blurs a strip of full rows of one plane, down its columns, then along its rows.

Between the two, the strip is in global memory, where only this program writes and reads it. Each plane has its own window: the
weights come from the recurrence of exp(-k k / (2 sigma sigma)) over k, in float64 as in the eager code, so none is stored.

The gradient is the transpose. The two directions commute, and along each a pixel collects values inside the image by the same
symmetric window. A pixel of the border also collects what its repetitions outside contributed.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part, linear
from bart.gpu_kernels.common.rows import plane_places, store_clipped, store_masked

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
def _blur_kernel(
    table, x, sigmas, halfway, out, inside, height, width,
    TRANSPOSE: tl.constexpr, CLIP: tl.constexpr, STRIP: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Blur one strip of one plane."""
    strips = tl.cdiv(height, STRIP)
    plane = (tl.program_id(0) // strips).to(tl.int64)
    mine, source, target = plane_places(table, plane)
    if mine < 0:
        return
    sigma = tl.load(sigmas + mine).to(tl.float64)
    size = height * width
    x += (mine if TRANSPOSE else source) * size
    halfway += plane * size
    row = tl.program_id(0) % strips * STRIP + tl.arange(0, STRIP)[:, None]
    y = tl.minimum(row, height - 1)
    for left in range(0, width, TILE_W):
        column = left + tl.arange(0, TILE_W)[None, :]
        value = _along(x + tl.minimum(column, width - 1), y, width, height, sigma, TRANSPOSE)
        tl.store(halfway + y * width + column, value, mask=(row < height) & (column < width))
    tl.debug_barrier()  # a row's pixels come from all threads
    for left in range(0, width, TILE_W):
        column = left + tl.arange(0, TILE_W)[None, :]
        value = _along(halfway + y * width, tl.minimum(column, width - 1), 1, width, sigma, TRANSPOSE)
        pixel, valid = y * width + column, (row < height) & (column < width)
        if TRANSPOSE:
            store_masked(out, inside, mine * size + pixel, value, valid, CLIP)
        else:
            store_clipped(out, inside, target * size + pixel, mine * size + pixel, value, valid, CLIP)


def _blur(part: Part, x: Tensor, transpose: bool) -> None:
    """Queue the launch that blurs the planes of a part, or applies the transpose."""
    height, width = part.size
    halfway = torch.empty((part.slots, 3, height, width), device=part.y.device)
    programs = 3 * part.slots * launcher.cdiv(height, STRIP)
    arguments = (part.table, x, part.params["sigma"], halfway, part.y, part.inside, height, width)
    constants = {"TRANSPOSE": transpose, "CLIP": part.clip, "STRIP": STRIP, "TILE_W": TILE_W}
    launcher.launch(_blur_kernel, programs, *arguments, **constants)


gaussian_blur = linear(_blur)
"""Each channel blurred with its own sigma, the border repeated outwards."""
