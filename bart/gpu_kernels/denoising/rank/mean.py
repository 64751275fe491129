"""Compute the mean over disks, and its gradient."""

import triton
import triton.language as tl

from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import plane_places, store_clipped, store_masked
from bart.gpu_kernels.denoising.rank.frames import (
    ONE,
    disk_population,
    disk_radius,
    filled_frame,
    filter_tiles,
    frame_entries,
    half_width,
    inside_image,
    levels_kernel,
    mean_level,
    tile_pixels,
)
from bart.transforms.denoising.rank import MEAN_RADII

_ONE = tl.constexpr(ONE)


@triton.jit
def _disk_sum(center, columns, radius):
    """Return the sum over each disk; `center` points at the middle of the disks."""
    total = tl.zeros(center.shape, tl.float32)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        for dx in range(-half, half + 1):
            total += tl.load(center + dy * columns + dx)
    return total


@triton.jit
def _mean_kernel(
    table, levels, radii, y, inside, height, width, rows, columns,
    CLIP: tl.constexpr, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the mean of each disk."""
    plane, line, column, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    mine, _, target = plane_places(table, plane)
    if mine < 0:
        return
    total = _disk_sum(levels + place, columns, disk_radius(radii, mine, MARGIN)).to(tl.int32)
    pixel, valid = line * width + column, inside_image(line, column, height, width)
    size = height * width
    store_clipped(y, inside, target * size + pixel, mine * size + pixel, mean_level(total, _ONE), valid, CLIP)


@triton.jit
def _divide_kernel(
    table, gradient, radii, shares, height, width, rows, columns, MARGIN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Divide each gradient by the number of pixels of its disk, in a frame of zeros."""
    plane, place, y, x, valid = frame_entries(height, width, rows, columns, MARGIN, BLOCK)
    mine, _, _ = plane_places(table, plane)
    if mine < 0:
        return
    value = tl.load(gradient + mine * height * width + y * width + x, mask=valid, other=0.0)
    population = disk_population(y, x, height, width, disk_radius(radii, mine, MARGIN))
    share = tl.where(valid, value / tl.maximum(population, 1).to(tl.float32), 0.0)
    tl.store(shares + plane * rows * columns + place, share, mask=place < rows * columns)


@triton.jit
def _sum_kernel(
    table, shares, radii, out, inside, height, width, rows, columns,
    CLIP: tl.constexpr, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the sum over each disk."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    mine, _, _ = plane_places(table, plane)
    if mine < 0:
        return
    total = _disk_sum(shares + place, columns, disk_radius(radii, mine, MARGIN))
    here = mine * height * width + y * width + x
    store_masked(out, inside, here, total, inside_image(y, x, height, width), CLIP)


def _forward(part: Part) -> Saved:
    """Queue two launches."""
    levels = filled_frame(levels_kernel, part, part.x, margin=MEAN_RADII[1], INSIDE=ONE, OUTSIDE=0)
    outputs = (part.params["radius"], part.y, part.inside)
    filter_tiles(_mean_kernel, part, levels, *outputs, margin=MEAN_RADII[1], CLIP=part.clip)
    return ()


def _backward(part: Part, saved: Saved) -> None:
    """Queue two launches."""
    assert part.gradient is not None
    radius = part.params["radius"]
    shares = filled_frame(_divide_kernel, part, part.gradient, radius, margin=MEAN_RADII[1])
    filter_tiles(_sum_kernel, part, shares, radius, part.y, part.inside, margin=MEAN_RADII[1], CLIP=part.clip)


mean = Kernel(_forward, _backward)
"""The mean of each disk."""
