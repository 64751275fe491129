"""Share what the kernels of seam carving agree on: lanes, tiles, and how a row of energies is stored.

A warp has LANES lanes, and a lane has SHARE neighbouring columns of a row. A row in memory has LANES * SHARE entries: first the
first columns of all lanes, then their second columns, and so on, so that a warp reads or writes one contiguous piece.
"""

import math

import triton
import triton.language as tl

from bart.transforms.seam_carving import _LEVELS as LEVELS

LANES = 32
"""Lanes of a warp."""
WALL = 1 << 30
"""Energy of the outermost columns, above that of every seam. It is half of what an integer holds, so it can be added once."""
STEEPEST = LEVELS * math.sqrt(20 / 32)
"""The largest energy of a pixel: of the Sobel filters' squares, at most 20 of 32 come together."""
TILE_H, TILE_W = 8, 32
"""Rows and columns of a tile."""
TILE = {"TILE_H": TILE_H, "TILE_W": TILE_W}

_LANES = tl.constexpr(LANES)


@triton.jit
def seam_counts(both, vertical, count, image):
    """Return how many vertical and horizontal seams an image has."""
    two = tl.load(both + image) != 0
    first = tl.load(vertical + image) != 0
    columns = tl.where(two | first, tl.load(count + 2 * image), 0)
    rows = tl.where(two | (first == 0), tl.load(count + 2 * image + 1), 0)
    return columns.to(tl.int32), rows.to(tl.int32)


@triton.jit
def tile_pixels(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Return this program's image, and the rows and columns of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    y = tile // across * TILE_H + tl.arange(0, TILE_H)[:, None]
    x = tile % across * TILE_W + tl.arange(0, TILE_W)[None, :]
    return (tl.program_id(0) // tiles).to(tl.int64), y, x


@triton.jit
def lane_major(column, SHARE: tl.constexpr):
    """Return the place of a column in a stored row of LANES * SHARE entries."""
    return column % SHARE * _LANES + column // SHARE
