"""Carve seams out of images and enlarge the result to the full size, with an exact gradient given the seams."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.seam_carving.kept import kept_pixels
from bart.gpu_kernels.seam_carving.layout import seam_counts
from bart.types import Params

BLOCK = 256
"""Pixels of a program."""


@triton.jit
def _taps(output, length, side):
    """Return the two pixels from which an output of the enlargement from `length` to `side` is interpolated.

    They are given by the first pixel and the share of the next one. It counts in whole numbers, 2 * side to a pixel. Outputs
    beyond the outermost pixels' centres are mirrored about them.
    """
    at = tl.abs((2 * output + 1) * length - side)
    last = (length - 1) * 2 * side
    at = last - tl.abs(last - at)
    first = at // (2 * side)
    return first, tl.div_rn((at - first * 2 * side).to(tl.float32), (2 * side).to(tl.float32))


@triton.jit
def _block(height, width, BLOCK: tl.constexpr):
    """Return this program's image, its pixels, and which of them exist."""
    blocks = tl.cdiv(height * width, BLOCK)
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return (tl.program_id(0) // blocks).to(tl.int64), pixel, pixel < height * width


@triton.jit
def _enlarge_kernel(x, both, vertical, count, kept, out, height, width, BLOCK: tl.constexpr):
    """Enlarge the carved image to the full size, for a block of pixels."""
    image, pixel, inside = _block(height, width, BLOCK)
    columns_gone, rows_gone = seam_counts(both, vertical, count, image)
    upper, down = _taps(pixel // width, height - rows_gone, height)
    left, across = _taps(pixel % width, width - columns_gone, width)
    lower = tl.minimum(upper + 1, height - rows_gone - 1)
    right = tl.minimum(left + 1, width - columns_gone - 1)
    size = height * width
    kept += image * size
    upper_left = tl.load(kept + upper * width + left, mask=inside, other=0)
    upper_right = tl.load(kept + upper * width + right, mask=inside, other=0)
    lower_left = tl.load(kept + lower * width + left, mask=inside, other=0)
    lower_right = tl.load(kept + lower * width + right, mask=inside, other=0)
    for channel in tl.static_range(3):
        plane = x + (image * 3 + channel) * size
        above = tl.load(plane + upper_left, mask=inside, other=0.0) * (1 - across)
        above += tl.load(plane + upper_right, mask=inside, other=0.0) * across
        below = tl.load(plane + lower_left, mask=inside, other=0.0) * (1 - across)
        below += tl.load(plane + lower_right, mask=inside, other=0.0) * across
        tl.store(out + (image * 3 + channel) * size + pixel, above * (1 - down) + below * down, mask=inside)


@triton.jit
def _reach(pixel, length, side):
    """Return the first output that can read a carved pixel, and how many follow: those less than a pixel away.

    It includes the mirrored ones. They are at either end, before the others of pixel 1 and after those of the last pixel.
    """
    first = tl.where(pixel > 1, ((2 * pixel - 1) * side - length) // (2 * length) + 1, 0)
    return first, 2 * side // length + side // (2 * length) + 2


@triton.jit
def _weight(output, pixel, length, side):
    """Return the share of a carved pixel in an output."""
    first, share = _taps(output, length, side)
    weight = tl.where(first == pixel, 1 - share, 0.0) + tl.where(first + 1 == pixel, share, 0.0)
    return tl.where(output < side, weight, 0.0)


@triton.jit
def _gather_kernel(gradient, both, vertical, count, place, out, height, width, BLOCK: tl.constexpr):
    """Add up, for each pixel, the gradients of all outputs that read the carved pixel which it became."""
    image, pixel, inside = _block(height, width, BLOCK)
    columns_gone, rows_gone = seam_counts(both, vertical, count, image)
    size = height * width
    carved = tl.load(place + image * size + pixel, mask=inside, other=-1)
    inside_carved = carved >= 0
    carved = tl.maximum(carved, 0)
    row = carved // width
    column = carved % width
    top, tall = _reach(row, height - rows_gone, height)
    left, wide = _reach(column, width - columns_gone, width)
    gradient += image * 3 * size
    red = tl.zeros([BLOCK], tl.float32)
    green = tl.zeros([BLOCK], tl.float32)
    blue = tl.zeros([BLOCK], tl.float32)
    for dy in range(tall):
        down = _weight(top + dy, row, height - rows_gone, height)
        for dx in range(wide):
            weight = down * _weight(left + dx, column, width - columns_gone, width)
            here = gradient + (top + dy) * width + left + dx
            used = inside_carved & (weight > 0)
            red += weight * tl.load(here, mask=used, other=0.0)
            green += weight * tl.load(here + size, mask=used, other=0.0)
            blue += weight * tl.load(here + 2 * size, mask=used, other=0.0)
    out += image * 3 * size + pixel
    tl.store(out, red, mask=inside)
    tl.store(out + size, green, mask=inside)
    tl.store(out + 2 * size, blue, mask=inside)


class _SeamCarving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Tensor, vertical: Tensor, count: Tensor) -> Tensor:
        n, _, height, width = x.shape
        kept, place = kept_pixels(x, {"both": both, "vertical": vertical, "count": count})
        ctx.save_for_backward(both, vertical, count, place)
        out = torch.empty_like(x)
        programs = n * triton.cdiv(height * width, BLOCK)
        launcher.launch(_enlarge_kernel, programs, x, both, vertical, count, kept, out, height, width, BLOCK=BLOCK)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        both, vertical, count, place = ctx.saved_tensors
        n, _, height, width = gradient.shape
        out = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        programs = n * triton.cdiv(height * width, BLOCK)
        numbers = (both, vertical, count)
        launcher.launch(_gather_kernel, programs, gradient.contiguous(), *numbers, place, out, height, width, BLOCK=BLOCK)
        return out, None, None, None


def seam_carving(x: Tensor, params: Params) -> Tensor:
    """Remove the seams and resize to the full size. x (n, 3, h, w). Seven launches, and one for the gradient."""
    return _SeamCarving.apply(x, params["both"], params["vertical"], params["count"])
