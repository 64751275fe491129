"""Share what the kernels of seam carving agree on: threads, tiles, and how a row of energies is stored.

A program that searches has two sweeps of PARTS warps. A warp has a window of columns, SHARE neighbouring ones in each of its
32 lanes. Windows overlap: the outermost lanes, `edge` at either side, only support the others, whose columns are its own.
A row in memory is as long as all windows together, its `pitch`; it begins `edge` lanes before the image does.
"""

import math
from typing import NamedTuple

import triton
import triton.language as tl

from bart.transforms.seam_carving import _LEVELS as LEVELS

PARTS, LANES = 4, 32
"""Warps of a sweep, and lanes of a warp."""
WALL = 1 << 30
"""Energy of the outermost columns, above that of every seam. It is half of what an integer holds, so it can be added once."""
STEEPEST = LEVELS * math.sqrt(20 / 32)
"""The largest energy of a pixel: of the Sobel filters' squares, at most 20 of 32 come together."""
TILE_H, TILE_W = 8, 32
"""Rows and columns of a tile."""
TILE = {"TILE_H": TILE_H, "TILE_W": TILE_W}


class Windows(NamedTuple):
    """Describe the windows of warps: columns of a lane, lanes at either end that support others, length of a stored row."""

    share: int
    edge: int
    pitch: int


def windows(side: int, ways: int) -> Windows:
    """Return the windows for rows of up to `side` pixels, whose edges stay true for `ways` rows."""
    share = 1
    while True:
        edge = -(-ways // share)
        own = (LANES - 2 * edge) * share
        if PARTS * own >= side:
            return Windows(share, edge, -(-(PARTS * own + 2 * edge * share + 1) // 8) * 8)
        share += 1


@triton.jit
def seam_counts(both, vertical, count, row):
    """Return how many vertical and horizontal seams the image in a row of the stack has."""
    two = tl.load(both + row) != 0
    first = tl.load(vertical + row) != 0
    columns = tl.where(two | first, tl.load(count + 2 * row), 0)
    rows = tl.where(two | (first == 0), tl.load(count + 2 * row + 1), 0)
    return columns.to(tl.int32), rows.to(tl.int32)


@triton.jit
def tile_pixels(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Return this program's slot, and the rows and columns of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    y = tile // across * TILE_H + tl.arange(0, TILE_H)[:, None]
    x = tile % across * TILE_W + tl.arange(0, TILE_W)[None, :]
    return (tl.program_id(0) // tiles).to(tl.int64), y, x
