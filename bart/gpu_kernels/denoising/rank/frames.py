"""Lay planes of 8-bit levels into frames, and share what the rank filters' kernels have in common.

A first launch rounds the images to 8-bit levels and copies each plane into a frame. The frame is wide enough for the largest
disk about the last pixel of the last tile. Entries outside the image hold a value that does not count, so the loops over a
disk check no borders. Sums and numbers of pixels are computed together: a level carries the number one above the bits of the
sum.

Levels are floats and exact: a GPU adds them twice as fast as integers, and counts by additions alone (`positive`).
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part
from bart.gpu_kernels.common.rows import plane_places

TILE_H, TILE_W = 16, 32
"""Rows and columns of the tile of a program."""
BLOCK = 1024
"""Entries of a frame that a program writes."""
ONE = 1 << 14
"""The number one, above the bits of a sum of levels: over a row of up to 41 pixels, or a disk of up to 29."""
NEVER = 511
"""No level: neither below one nor equal to one."""


@triton.jit
def inside_image(y, x, height, width):
    """Return which places are inside the image."""
    return (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def frame_entries(height, width, rows, columns, MARGIN: tl.constexpr, BLOCK: tl.constexpr):
    """Return this program's plane and block of a frame: places in the frame, rows and columns in the plane, and which exist."""
    blocks = tl.cdiv(rows * columns, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    y, x = place // columns - MARGIN, place % columns - MARGIN
    return plane, place, y, x, inside_image(y, x, height, width)


@triton.jit
def tile_origin(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Return this program's plane, and the first row and column of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    return (tl.program_id(0) // tiles).to(tl.int64), tile // across * TILE_H, tile % across * TILE_W


@triton.jit
def tile_pixels(height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Return this program's plane, the rows and columns of its tile, and the places of its pixels in the frames."""
    plane, y, x = tile_origin(height, width, TILE_H, TILE_W)
    y += tl.arange(0, TILE_H)[:, None]
    x += tl.arange(0, TILE_W)[None, :]
    return plane, y, x, plane * rows * columns + (y + MARGIN) * columns + x + MARGIN


@triton.jit
def disk_radius(radii, plane, MARGIN: tl.constexpr):
    """Return the radius of a plane's disk, at most MARGIN."""
    return tl.minimum(tl.load(radii + plane).to(tl.int32), MARGIN)


@triton.jit
def half_width(radius, dy):
    """Return how far the disk reaches in its row dy."""
    return tl.sqrt((radius * radius - dy * dy).to(tl.float32) + 0.5).to(tl.int32)


@triton.jit
def disk_population(y, x, height, width, radius):
    """Return the number of pixels of each disk inside the image."""
    total = tl.zeros_like(y + x)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        columns = tl.minimum(x + half, width - 1) - tl.maximum(x - half, 0) + 1
        total += tl.where((y + dy >= 0) & (y + dy < height), columns, 0)
    return total


@triton.jit
def positive(whole):
    """Return 1 for a positive whole number, 0 for others.

    A GPU clamps a float to 0..1 during an addition: faster than a selection.
    """
    return tl.clamp(whole, 0.0, 1.0)


@triton.jit
def to_unit(level):
    """Return levels 0..255 as floats in [0, 1]."""
    return tl.div_rn(level.to(tl.float32), 255.0)


@triton.jit
def levels_kernel(
    table, x, levels, height, width, rows, columns,
    MARGIN: tl.constexpr, INSIDE: tl.constexpr, OUTSIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store levels plus INSIDE, rounded half to even, in a frame of OUTSIDE."""
    plane, place, row, column, valid = frame_entries(height, width, rows, columns, MARGIN, BLOCK)
    mine, source, _ = plane_places(table, plane)
    if mine < 0:
        return
    value = tl.load(x + source * height * width + row * width + column, mask=valid, other=0.0)
    # the product as float32 rounds it: by way of float64, since it must not become part of a fused operation
    value = (tl.minimum(tl.maximum(value, 0.0), 1.0).to(tl.float64) * 255.0).to(tl.float32)
    floor = tl.floor(value)
    level = floor.to(tl.int32)
    up = (value - floor > 0.5) | ((value - floor == 0.5) & (level % 2 == 1))
    level += up.to(tl.int32)
    tl.store(levels + plane * rows * columns + place, tl.where(valid, level + INSIDE, OUTSIDE), mask=place < rows * columns)


@triton.jit
def mean_level(total, ONE: tl.constexpr):
    """Return the mean level of each disk, rounded down, in [0, 1], from the sum and number of its pixels, in units of ONE."""
    return to_unit((total % ONE) // tl.maximum(total // ONE, 1))


def filled_frame(kernel: Any, part: Part, *inputs: Tensor, margin: int, **constants: int) -> Tensor:
    """Return a frame for each plane of a part, (3 c, rows, columns): whole tiles with a margin around, filled by a kernel."""
    height, width = part.size
    rows = launcher.cdiv(height, TILE_H) * TILE_H + 2 * margin
    columns = launcher.cdiv(width, TILE_W) * TILE_W + 2 * margin
    frame = torch.empty((3 * part.slots, rows, columns), dtype=torch.float32, device=part.y.device)
    programs = len(frame) * launcher.cdiv(rows * columns, BLOCK)
    sizes = (height, width, rows, columns)
    launcher.launch(kernel, programs, part.table, *inputs, frame, *sizes, **constants, MARGIN=margin, BLOCK=BLOCK)
    return frame


def filter_tiles(kernel: Any, part: Part, frame: Tensor, *others: Tensor, margin: int, **constants: bool) -> None:
    """Run a kernel over the tiles of all planes of a part."""
    height, width = part.size
    programs = len(frame) * launcher.cdiv(height, TILE_H) * launcher.cdiv(width, TILE_W)
    arguments = (part.table, frame, *others, height, width, *frame.shape[1:])
    launcher.launch(kernel, programs, *arguments, **constants, MARGIN=margin, TILE_H=TILE_H, TILE_W=TILE_W)
