"""Compute the median over disks, and its surrogate gradient: equal shares to the pixels that have the median's level."""

import torch
import triton
import triton.language as tl

from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import plane_places, store_clipped, store_masked
from bart.gpu_kernels.denoising.rank.frames import (
    NEVER,
    disk_population,
    disk_radius,
    filled_frame,
    filter_tiles,
    half_width,
    inside_image,
    levels_kernel,
    positive,
    tile_pixels,
    to_unit,
)
from bart.transforms.denoising.rank import MEDIAN_RADII


@triton.jit
def _median_kernel(
    table, levels, radii, medians, out, inside, height, width, rows, columns,
    CLIP: tl.constexpr, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the largest level that at most population // 2 pixels of the disk are below."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    mine, _, target = plane_places(table, plane)
    if mine < 0:
        return
    radius = disk_radius(radii, mine, MARGIN)
    rank = disk_population(y, x, height, width, radius) // 2
    median = tl.zeros([TILE_H, TILE_W], tl.float32)
    for digit in tl.static_range(4):  # two bits at a time: half the loads of one, and three comparisons instead of two
        step = 64 >> (2 * digit)
        below_1 = tl.zeros([TILE_H, TILE_W], tl.float32)
        below_2 = tl.zeros([TILE_H, TILE_W], tl.float32)
        below_3 = tl.zeros([TILE_H, TILE_W], tl.float32)
        for dy in range(-radius, radius + 1):
            half = half_width(radius, dy)
            row = levels + place + dy * columns
            for dx in range(-half, half + 1):
                level = tl.load(row + dx)
                below_1 += positive(median + step - level)
                below_2 += positive(median + 2 * step - level)
                below_3 += positive(median + 3 * step - level)
        passed = (below_1 <= rank).to(tl.float32) + (below_2 <= rank).to(tl.float32) + (below_3 <= rank).to(tl.float32)
        median += step * passed
    size, pixel = height * width, y * width + x
    valid = inside_image(y, x, height, width)
    tl.store(medians + plane * size + pixel, median.to(tl.uint8), mask=valid)
    store_clipped(out, inside, target * size + pixel, mine * size + pixel, to_unit(median), valid, CLIP)


@triton.jit
def _share_kernel(
    table, levels, medians, radii, gradient, shares, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Divide each gradient by the number of pixels that share it: those of the disk that have the median's level."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    mine, _, _ = plane_places(table, plane)
    if mine < 0:
        return
    radius = disk_radius(radii, mine, MARGIN)
    here = plane * height * width + y * width + x
    valid = inside_image(y, x, height, width)
    median = tl.load(medians + here, mask=valid, other=0).to(tl.float32)
    ties = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        for dx in range(-half, half + 1):
            ties += positive(1.0 - tl.abs(tl.load(levels + place + dy * columns + dx) - median))
    value = tl.load(gradient + mine * height * width + y * width + x, mask=valid, other=0.0)
    tl.store(shares + here, value / tl.maximum(ties, 1.0), mask=valid)


@triton.jit
def _gather_kernel(
    table, levels, medians, radii, shares, out, inside, height, width, rows, columns,
    CLIP: tl.constexpr, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Add up the shares of all outputs that selected this pixel's level."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    mine, _, _ = plane_places(table, plane)
    if mine < 0:
        return
    radius = disk_radius(radii, mine, MARGIN)
    here = plane * height * width + y * width + x
    level = tl.load(levels + place)
    total = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        for dx in range(-half, half + 1):
            valid = inside_image(y + dy, x + dx, height, width)
            median = tl.load(medians + here + dy * width + dx, mask=valid, other=0).to(tl.float32)
            share = tl.load(shares + here + dy * width + dx, mask=valid, other=0.0)
            total += share * positive(1.0 - tl.abs(median - level))
    there = mine * height * width + y * width + x
    store_masked(out, inside, there, total, inside_image(y, x, height, width), CLIP)


def _forward(part: Part) -> Saved:
    """Queue two launches; the backward pass needs levels and medians."""
    margin, (height, width) = MEDIAN_RADII[1], part.size
    levels = filled_frame(levels_kernel, part, part.x, margin=margin, INSIDE=0, OUTSIDE=NEVER)
    medians = torch.empty((part.slots, 3, height, width), dtype=torch.uint8, device=part.y.device)
    outputs = (part.params["radius"], medians, part.y, part.inside)
    filter_tiles(_median_kernel, part, levels, *outputs, margin=margin, CLIP=part.clip)
    return levels, medians


def _backward(part: Part, saved: Saved) -> None:
    """Queue two launches."""
    assert part.gradient is not None
    levels, medians = saved
    margin, radius, shares = MEDIAN_RADII[1], part.params["radius"], torch.empty_like(medians, dtype=torch.float32)
    filter_tiles(_share_kernel, part, levels, medians, radius, part.gradient, shares, margin=margin)
    filter_tiles(_gather_kernel, part, levels, medians, radius, shares, part.y, part.inside, margin=margin, CLIP=part.clip)


median = Kernel(_forward, _backward)
"""The upper median of each disk."""
