"""Compute the Sobel energy of the grey images, as whole numbers in the layout that the search for seams reads."""

import math

import triton
import triton.language as tl

from bart.gpu_kernels.common.rows import places
from bart.gpu_kernels.seam_carving.layout import LEVELS, seam_counts, tile_pixels
from bart.transforms.seam_carving import _LUMINANCE as LUMINANCE

_RED, _GREEN, _BLUE = (tl.constexpr(weight) for weight in LUMINANCE)
_SCALE = tl.constexpr(LEVELS / math.sqrt(32))


@triton.jit
def _grey(x, columns, size, row, column, inside, CARVED: tl.constexpr):
    """Return grey pixels of the image, or of the image without its vertical seams.

    `row` points at the first pixel of each row.
    """
    if CARVED:
        column = tl.load(columns + row + column, mask=inside, other=0).to(tl.int32)
    red = tl.load(x + row + column, mask=inside, other=0.0).to(tl.float64)
    green = tl.load(x + size + row + column, mask=inside, other=0.0).to(tl.float64)
    blue = tl.load(x + 2 * size + row + column, mask=inside, other=0.0).to(tl.float64)
    return red * _RED + green * _GREEN + blue * _BLUE


@triton.jit
def _sum(first, second, third):
    """Return first + 2 second + third."""
    return first + 2 * second + third


@triton.jit
def energy_kernel(
    table, x, both, vertical, count, columns, place, energy, height, width, area, margin,
    TURNED: tl.constexpr, PITCH: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the Sobel magnitude in whole numbers in the first half of `energy` (c, 2, area); zero beside the image, in both.

    Its rows are those of the image or, if TURNED, the columns of the image without its vertical seams. A row begins with
    `margin` zeros.
    """
    if TURNED:
        slot, row, line = tile_pixels(PITCH, width, TILE_H, TILE_W)
        row -= margin
        column, across = line, line
    else:
        slot, line, column = tile_pixels(height, PITCH, TILE_H, TILE_W)
        column -= margin
        row, across = line, line
    mine, source, _ = places(table, slot)
    if mine < 0:
        return
    size = height * width
    x += source * 3 * size
    columns += slot * size
    if not TURNED:
        whole = (row < height) & (column >= 0) & (column < width)
        tl.store(place + slot * size + row * width + column, -1, mask=whole)
    columns_gone, rows_gone = seam_counts(both, vertical, count, mine)
    length = width - columns_gone if TURNED else width
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < length)
    along = (row if TURNED else column) + margin
    wanted = (across < (length if TURNED else height)) & (along < PITCH)
    if (rows_gone if TURNED else columns_gone) > 0:
        left = tl.maximum(column - 1, 0)
        right = tl.minimum(column + 1, length - 1)
        above = tl.maximum(row - 1, 0) * width
        here = row * width
        below = tl.minimum(row + 1, height - 1) * width
        above_left = _grey(x, columns, size, above, left, inside, TURNED)
        above_right = _grey(x, columns, size, above, right, inside, TURNED)
        below_left = _grey(x, columns, size, below, left, inside, TURNED)
        below_right = _grey(x, columns, size, below, right, inside, TURNED)
        before = _sum(above_left, _grey(x, columns, size, here, left, inside, TURNED), below_left)
        after = _sum(above_right, _grey(x, columns, size, here, right, inside, TURNED), below_right)
        upper = _sum(above_left, _grey(x, columns, size, above, column, inside, TURNED), above_right)
        lower = _sum(below_left, _grey(x, columns, size, below, column, inside, TURNED), below_right)
        value = tl.sqrt((after - before) * (after - before) + (lower - upper) * (lower - upper)) * _SCALE
        level = value.to(tl.int32)
        rest = value - level.to(tl.float64)
        level += ((rest > 0.5) | ((rest == 0.5) & (level % 2 == 1))).to(tl.int32)
        spot = energy + slot * 2 * area + across * PITCH + along
        tl.store(spot, tl.where(inside, level, 0).to(tl.int16), mask=wanted)
        tl.store(spot + area, tl.zeros_like(level).to(tl.int16), mask=wanted & (inside == 0))
