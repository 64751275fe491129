"""Carve seams out of images and enlarge the result to the full size, with an exact gradient given the seams."""

import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked
from bart.gpu_kernels.seam_carving.kept import kept_pixels
from bart.gpu_kernels.seam_carving.layout import seam_counts

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
    """Return this program's slot, its pixels, and which of them exist."""
    blocks = tl.cdiv(height * width, BLOCK)
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return (tl.program_id(0) // blocks).to(tl.int64), pixel, pixel < height * width


@triton.jit
def _enlarge_kernel(table, x, both, vertical, count, kept, y, inside, height, width, CLIP: tl.constexpr, BLOCK: tl.constexpr):
    """Enlarge the carved image to the full size, for a block of pixels."""
    slot, pixel, valid = _block(height, width, BLOCK)
    mine, source, target = places(table, slot)
    if mine < 0:
        return
    columns_gone, rows_gone = seam_counts(both, vertical, count, mine)
    upper, down = _taps(pixel // width, height - rows_gone, height)
    left, across = _taps(pixel % width, width - columns_gone, width)
    lower = tl.minimum(upper + 1, height - rows_gone - 1)
    right = tl.minimum(left + 1, width - columns_gone - 1)
    size = height * width
    kept += slot * size
    upper_left = tl.load(kept + upper * width + left, mask=valid, other=0)
    upper_right = tl.load(kept + upper * width + right, mask=valid, other=0)
    lower_left = tl.load(kept + lower * width + left, mask=valid, other=0)
    lower_right = tl.load(kept + lower * width + right, mask=valid, other=0)
    for channel in tl.static_range(3):
        plane = x + (source * 3 + channel) * size
        above = tl.load(plane + upper_left, mask=valid, other=0.0) * (1 - across)
        above += tl.load(plane + upper_right, mask=valid, other=0.0) * across
        below = tl.load(plane + lower_left, mask=valid, other=0.0) * (1 - across)
        below += tl.load(plane + lower_right, mask=valid, other=0.0) * across
        value = above * (1 - down) + below * down
        there, marked = (target * 3 + channel) * size + pixel, (mine * 3 + channel) * size + pixel
        store_clipped(y, inside, there, marked, value, valid, CLIP)


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
def _gather_kernel(
    table, gradient, both, vertical, count, place, out, inside, height, width, CLIP: tl.constexpr, BLOCK: tl.constexpr
):
    """Add up, for each pixel, the gradients of all outputs that read the carved pixel which it became."""
    slot, pixel, valid = _block(height, width, BLOCK)
    mine, _, _ = places(table, slot)
    if mine < 0:
        return
    columns_gone, rows_gone = seam_counts(both, vertical, count, mine)
    size = height * width
    carved = tl.load(place + slot * size + pixel, mask=valid, other=-1)
    inside_carved = carved >= 0
    carved = tl.maximum(carved, 0)
    row = carved // width
    column = carved % width
    top, tall = _reach(row, height - rows_gone, height)
    left, wide = _reach(column, width - columns_gone, width)
    gradient += mine * 3 * size
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
    there = mine * 3 * size + pixel
    store_masked(out, inside, there, red, valid, CLIP)
    store_masked(out, inside, there + size, green, valid, CLIP)
    store_masked(out, inside, there + 2 * size, blue, valid, CLIP)


def _forward(part: Part) -> Saved:
    """Queue seven launches; the backward pass needs where each pixel went."""
    (height, width), params = part.size, part.params
    kept, place = kept_pixels(part)
    programs = part.slots * launcher.cdiv(height * width, BLOCK)
    numbers = (params["both"], params["vertical"], params["count"])
    arguments = (part.table, part.x, *numbers, kept, part.y, part.inside, height, width)
    launcher.launch(_enlarge_kernel, programs, *arguments, CLIP=part.clip, BLOCK=BLOCK)
    return (place,)


def _backward(part: Part, saved: Saved) -> None:
    """Queue one launch."""
    assert part.gradient is not None
    (height, width), params = part.size, part.params
    programs = part.slots * launcher.cdiv(height * width, BLOCK)
    numbers = (params["both"], params["vertical"], params["count"])
    arguments = (part.table, part.gradient, *numbers, *saved, part.y, part.inside, height, width)
    launcher.launch(_gather_kernel, programs, *arguments, CLIP=part.clip, BLOCK=BLOCK)


seam_carving = Kernel(_forward, _backward)
"""The seams removed, and the rest resized to the full size."""
