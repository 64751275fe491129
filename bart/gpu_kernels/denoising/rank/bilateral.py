"""Compute the bilateral mean over disks of up to 1257 pixels.

A program's tile is four tiles of rows, each with its own sums. They are interleaved such that one loaded pixel serves four
neighbours in a column. For each pixel of a disk three operations remain: subtract it from the middle of the window, subtract
that distance from the width of the window, multiply and add.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import plane_places, store_clipped
from bart.gpu_kernels.denoising.rank import frames
from bart.gpu_kernels.denoising.rank.frames import (
    ONE,
    disk_radius,
    filled_frame,
    half_width,
    inside_image,
    levels_kernel,
    mean_level,
    positive,
    tile_origin,
)
from bart.transforms.denoising.rank import BILATERAL_RADII

COLUMN = 4
"""Neighbours in a column that share the loaded pixels."""
BILATERAL_H = 2
"""Rows of fours:

8 x 32 px for a single warp. The programs are many and small, since their work differs by a factor of a hundred.
"""

_ONE = tl.constexpr(ONE)
_ONE_OF_ALL = tl.constexpr(1 << 19)  # the number one, above the bits of the sum over a disk of 1257
_START, _START_BITS = tl.constexpr(2.0**23), tl.constexpr(0x4B000000)


@triton.jit
def _kept(level, middle, limit):
    """Return the pixel itself if its level is less than `limit` from `middle`, else 0; `limit` less that distance is whole."""
    return level * positive(limit - tl.abs(level - middle))


@triton.jit
def _counted(total):
    """Return sum and number of a row, in units of ONE_OF_ALL, from what was added to START: floats there are a unit apart."""
    total = total.to(tl.int32, bitcast=True) - _START_BITS
    return total // _ONE * _ONE_OF_ALL + total % _ONE


@triton.jit
def _mean_bilateral_kernel(
    table, levels, radii, s0s, s1s, out, inside, height, width, rows, columns,
    CLIP: tl.constexpr, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Filter the disks of rows y, y + 1, y + 2, y + 3, for every fourth row y of the tile."""
    plane, top, left = tile_origin(height, width, 4 * TILE_H, TILE_W)
    mine, _, target = plane_places(table, plane)
    if mine < 0:
        return
    y = top + 4 * tl.arange(0, TILE_H)[:, None]
    x = left + tl.arange(0, TILE_W)[None, :]
    place = levels + plane * rows * columns + (y + MARGIN) * columns + x + MARGIN
    radius = disk_radius(radii, mine, MARGIN - 1)
    s0 = tl.load(s0s + mine).to(tl.float32)
    s1 = tl.load(s1s + mine).to(tl.float32)
    half_span = 0.5 * (s0 + s1)
    middle_0 = tl.load(place) + 0.5 * (s0 - s1)
    middle_1 = tl.load(place + columns) + 0.5 * (s0 - s1)
    middle_2 = tl.load(place + 2 * columns) + 0.5 * (s0 - s1)
    middle_3 = tl.load(place + 3 * columns) + 0.5 * (s0 - s1)
    total_0 = tl.zeros([TILE_H, TILE_W], tl.int32)
    total_1 = tl.zeros([TILE_H, TILE_W], tl.int32)
    total_2 = tl.zeros([TILE_H, TILE_W], tl.int32)
    total_3 = tl.zeros([TILE_H, TILE_W], tl.int32)
    for dy in range(-radius, radius + 4):
        room_0 = radius * radius - dy * dy  # for the square of dx; negative where the disk has no such row
        room_1 = radius * radius - (dy - 1) * (dy - 1)
        room_2 = radius * radius - (dy - 2) * (dy - 2)
        room_3 = radius * radius - (dy - 3) * (dy - 3)
        row = place + dy * columns
        level = tl.load(row)
        sum_0 = _START + _kept(level, middle_0, tl.where(room_0 >= 0, half_span, 0.0))
        sum_1 = _START + _kept(level, middle_1, tl.where(room_1 >= 0, half_span, 0.0))
        sum_2 = _START + _kept(level, middle_2, tl.where(room_2 >= 0, half_span, 0.0))
        sum_3 = _START + _kept(level, middle_3, tl.where(room_3 >= 0, half_span, 0.0))
        widest = half_width(radius, tl.minimum(dy, tl.maximum(dy - 3, 0)))
        for first in range(1, widest + 1, 2):
            for step in tl.static_range(2):  # unrolled, so that four loads are in flight at a time
                dx = first + step
                before, after = tl.load(row - dx), tl.load(row + dx)
                limit_0 = tl.where(dx * dx <= room_0, half_span, 0.0)
                limit_1 = tl.where(dx * dx <= room_1, half_span, 0.0)
                limit_2 = tl.where(dx * dx <= room_2, half_span, 0.0)
                limit_3 = tl.where(dx * dx <= room_3, half_span, 0.0)
                sum_0 += _kept(before, middle_0, limit_0)
                sum_1 += _kept(before, middle_1, limit_1)
                sum_2 += _kept(before, middle_2, limit_2)
                sum_3 += _kept(before, middle_3, limit_3)
                sum_0 += _kept(after, middle_0, limit_0)
                sum_1 += _kept(after, middle_1, limit_1)
                sum_2 += _kept(after, middle_2, limit_2)
                sum_3 += _kept(after, middle_3, limit_3)
        total_0 += _counted(sum_0)
        total_1 += _counted(sum_1)
        total_2 += _counted(sum_2)
        total_3 += _counted(sum_3)
    there, marked = target * height * width, mine * height * width
    totals = (total_0, total_1, total_2, total_3)
    for i in tl.static_range(4):
        pixel, valid = (y + i) * width + x, inside_image(y + i, x, height, width)
        store_clipped(out, inside, there + pixel, marked + pixel, mean_level(totals[i], _ONE_OF_ALL), valid, CLIP)


def _forward(part: Part) -> Saved:
    """Queue two launches."""
    margin = BILATERAL_RADII[1] + 1  # pixels are loaded two at a time, so the second may be outside the disk
    levels = filled_frame(levels_kernel, part, part.x, margin=margin, INSIDE=ONE, OUTSIDE=0)
    height, width = part.size
    programs = len(levels) * launcher.cdiv(height, COLUMN * BILATERAL_H) * launcher.cdiv(width, frames.TILE_W)
    numbers = (part.params["radius"], part.params["s0"], part.params["s1"])
    arguments = (part.table, levels, *numbers, part.y, part.inside, height, width, *levels.shape[1:])
    tile = {"TILE_H": BILATERAL_H, "TILE_W": frames.TILE_W, "num_warps": 1}
    launcher.launch(_mean_bilateral_kernel, programs, *arguments, CLIP=part.clip, MARGIN=margin, **tile)
    return ()


mean_bilateral = Kernel(_forward)
"""The mean of those levels v of each disk with g - s1 < v < g + s0."""
