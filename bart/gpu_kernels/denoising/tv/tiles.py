"""Cut planes into overlapping tiles that stay in a program's registers, and read a tile's neighbours.

An iteration moves what is known by one pixel. So a tile with `margin` pixels around its own ones makes `margin` iterations
without any other tile: what is wrong at its rim reaches its own pixels just after the last one. At the border of the image a
tile needs no margin. Neighbours are exchanged by shuffles along a row and through 16 KB of shared memory along a column.
"""

import math
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

ALONE, COUPLED, COLUMNS = 64, 32, 64
"""The most rows of a tile of one channel and of three coupled channels, which have eleven fields a pixel; the most columns."""
LEAST = 32
"""The fewest rows and columns of a tile: more than twice the widest margin, that of the derivative."""


class Shape(NamedTuple):
    """Describe the tiles of an image.

    Holds the rows of those of one channel and of those of coupled ones, the columns of both, and options of a launch.
    """

    alone: int
    coupled: int
    columns: int
    options: dict[str, int]


def tile_shape(x: Tensor) -> Shape:
    """Return the tiles for images `x` (n, 3, h, w): no larger than an image needs, with at most eight pixels a thread."""
    height, width = (max(LEAST, triton.next_power_of_2(side)) for side in x.shape[2:])
    alone, coupled, columns = min(ALONE, height), min(COUPLED, height), min(COLUMNS, width)
    return Shape(alone, coupled, columns, {"num_warps": alone * columns // 256, "num_stages": 1})


def tile_count(side: int, length: int, margin: int) -> int:
    """Return how many tiles of `length` pixels cover a side, if neighbours overlap by two margins."""
    return 1 + max(0, math.ceil((side - length) / (length - 2 * margin)))


def plane_tiles(x: Tensor, rows: int, columns: int, margin: int) -> int:
    """Return how many tiles of `rows` x `columns` cover a plane of `x`."""
    return tile_count(x.shape[2], rows, margin) * tile_count(x.shape[3], columns, margin)


@triton.jit
def _side(tile, tiles, size, margin, LENGTH: tl.constexpr):
    """Return where a tile begins on a side, and the first and the last pixel of its own."""
    step = LENGTH - 2 * margin
    begin = tl.maximum(tl.minimum(tile * step, size - LENGTH), 0)
    following = tl.maximum(tl.minimum((tile + 1) * step, size - LENGTH), 0)
    return begin, tl.where(tile == 0, 0, begin + margin), tl.where(tile == tiles - 1, size, following + margin)


@triton.jit
def tile_pixels(tile, height, width, margin, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the rows and columns of a tile of a plane, and which of its pixels are its own.

    Pixels beyond the image, of a tile that is larger than it, belong to no tile.
    """
    across = 1 + tl.maximum(tl.cdiv(width - COLUMNS, COLUMNS - 2 * margin), 0)
    down = 1 + tl.maximum(tl.cdiv(height - ROWS, ROWS - 2 * margin), 0)
    top, first_row, last_row = _side(tile // across, down, height, margin, ROWS)
    left, first_column, last_column = _side(tile % across, across, width, margin, COLUMNS)
    row = top + tl.arange(0, ROWS)[:, None]
    column = left + tl.arange(0, COLUMNS)[None, :]
    own = ((row >= first_row) & (row < last_row)) & ((column >= first_column) & (column < last_column))
    return row, column, own


@triton.jit
def _neighbour(field, STEP: tl.constexpr, AXIS: tl.constexpr):
    """Return the entries of a tile STEP farther along an axis; any entry at its end."""
    length: tl.constexpr = field.shape[AXIS]
    place = (tl.arange(0, length) + (STEP + length)) % length
    return tl.gather(field, tl.broadcast_to(tl.expand_dims(place, 1 - AXIS), field.shape), AXIS)


@triton.jit
def at_right(field):
    """Return each pixel's right neighbour."""
    return _neighbour(field, 1, 1)


@triton.jit
def at_left(field):
    """Return each pixel's left neighbour."""
    return _neighbour(field, -1, 1)


@triton.jit
def below(field):
    """Return each pixel's neighbour in the next row."""
    return _neighbour(field, 1, 0)


@triton.jit
def above(field):
    """Return each pixel's neighbour in the previous row."""
    return _neighbour(field, -1, 0)
