"""Compute the median over disks, and its surrogate gradient: equal shares to the pixels that have the median's level."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.denoising.rank.frames import (
    NEVER,
    disk_population,
    disk_radius,
    empty_frame,
    fill_frame,
    filter_tiles,
    half_width,
    inside_image,
    levels_kernel,
    positive,
    tile_pixels,
    to_unit,
)
from bart.transforms.denoising.rank import MEDIAN_RADII
from bart.types import Params


@triton.jit
def _median_kernel(
    levels, radii, medians, out, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Store the largest level that at most population // 2 pixels of the disk are below."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = disk_radius(radii, plane, MARGIN)
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
    here = plane * height * width + y * width + x
    valid = inside_image(y, x, height, width)
    tl.store(medians + here, median.to(tl.uint8), mask=valid)
    tl.store(out + here, to_unit(median), mask=valid)


@triton.jit
def _share_kernel(
    levels, medians, radii, gradient, shares, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Divide each gradient by the number of pixels that share it: those of the disk that have the median's level."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = disk_radius(radii, plane, MARGIN)
    here = plane * height * width + y * width + x
    valid = inside_image(y, x, height, width)
    median = tl.load(medians + here, mask=valid, other=0).to(tl.float32)
    ties = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        for dx in range(-half, half + 1):
            ties += positive(1.0 - tl.abs(tl.load(levels + place + dy * columns + dx) - median))
    value = tl.load(gradient + here, mask=valid, other=0.0)
    tl.store(shares + here, value / tl.maximum(ties, 1.0), mask=valid)


@triton.jit
def _gather_kernel(
    levels, medians, radii, shares, out, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Add up the shares of all outputs that selected this pixel's level."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = disk_radius(radii, plane, MARGIN)
    here = plane * height * width + y * width + x
    level = tl.load(levels + place)
    total = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = half_width(radius, dy)
        for dx in range(-half, half + 1):
            inside = inside_image(y + dy, x + dx, height, width)
            median = tl.load(medians + here + dy * width + dx, mask=inside, other=0).to(tl.float32)
            share = tl.load(shares + here + dy * width + dx, mask=inside, other=0.0)
            total += share * positive(1.0 - tl.abs(median - level))
    tl.store(out + here, total, mask=inside_image(y, x, height, width))


class _Median(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        margin = MEDIAN_RADII[1]
        levels = fill_frame(levels_kernel, empty_frame(x, margin), x, MARGIN=margin, INSIDE=0, OUTSIDE=NEVER)
        medians, out = torch.empty_like(x, dtype=torch.uint8), torch.empty_like(x)
        filter_tiles(_median_kernel, levels, radius, medians, out, margin=margin)
        ctx.save_for_backward(levels, medians, radius)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        levels, medians, radius = ctx.saved_tensors
        gradient = gradient.contiguous()
        shares, out = torch.empty_like(gradient), torch.empty_like(gradient)
        filter_tiles(_share_kernel, levels, medians, radius, gradient, shares, margin=MEDIAN_RADII[1])
        filter_tiles(_gather_kernel, levels, medians, radius, shares, out, margin=MEDIAN_RADII[1])
        return out, None


def median(x: Tensor, params: Params) -> Tensor:
    """Return the upper median of each disk. Two launches, and two for the gradient."""
    return _Median.apply(x, params["radius"])
