"""Compute the Sobel energy of the grey images, as whole numbers in the layout that the search for seams reads."""

import math

import triton
import triton.language as tl

from bart.gpu_kernels.seam_carving.layout import LANES, LEVELS, WALL, seam_counts, tile_pixels
from bart.transforms.seam_carving import _LUMINANCE as LUMINANCE

_LANES, _WALL = tl.constexpr(LANES), tl.constexpr(WALL)
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
    x, both, vertical, count, columns, place, energy, height, width, area,
    TURNED: tl.constexpr, SHARE: tl.constexpr, WAYS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the Sobel magnitude in whole numbers, above the bits of the ways, and after the last row one with only the walls.

    Its rows are those of the image or, if TURNED, the columns of the image without its vertical seams.
    """
    if TURNED:
        image, row, column = tile_pixels(_LANES * SHARE, width + 1, TILE_H, TILE_W)
    else:
        image, row, column = tile_pixels(height + 1, _LANES * SHARE, TILE_H, TILE_W)
    size = height * width
    x += image * 3 * size
    columns += image * size
    if not TURNED:
        tl.store(place + image * size + row * width + column, -1, mask=(row < height) & (column < width))
    columns_gone, rows_gone = seam_counts(both, vertical, count, image)
    length = width - columns_gone if TURNED else width
    line = row if TURNED else column
    end = height - 1 if TURNED else width - 1
    across = column if TURNED else row
    inside = (row < height) & (column < length)
    wanted = (across <= (length if TURNED else height)) & (line < _LANES * SHARE)
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
        level = tl.where((line == 0) | (line == end), _WALL, tl.where(inside, level << (2 * WAYS), 0))
        spot = across * (_LANES * SHARE) + line % SHARE * _LANES + line // SHARE
        tl.store(energy + image * area + spot, level, mask=wanted)
