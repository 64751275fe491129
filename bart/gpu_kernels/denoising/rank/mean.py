"""Compute the mean over disks, and its gradient."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.denoising.rank.frames import (
    ONE,
    disk_population,
    disk_radius,
    empty_frame,
    fill_frame,
    filter_tiles,
    frame_entries,
    half_width,
    inside_image,
    levels_kernel,
    store_mean,
    tile_pixels,
)
from bart.transforms.denoising.rank import MEAN_RADII
from bart.types import Params

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
    levels, radii, out, height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    """Store the mean of each disk."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    total = _disk_sum(levels + place, columns, disk_radius(radii, plane, MARGIN)).to(tl.int32)
    store_mean(out + plane * height * width, total, _ONE, y, x, height, width)


@triton.jit
def _divide_kernel(
    gradient, radii, shares, height, width, rows, columns, MARGIN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Divide each gradient by the number of pixels of its disk, in a frame of zeros."""
    plane, place, y, x, valid = frame_entries(height, width, rows, columns, MARGIN, BLOCK)
    value = tl.load(gradient + plane * height * width + y * width + x, mask=valid, other=0.0)
    population = disk_population(y, x, height, width, disk_radius(radii, plane, MARGIN))
    share = tl.where(valid, value / tl.maximum(population, 1).to(tl.float32), 0.0)
    tl.store(shares + plane * rows * columns + place, share, mask=place < rows * columns)


@triton.jit
def _sum_kernel(
    shares, radii, out, height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    """Store the sum over each disk."""
    plane, y, x, place = tile_pixels(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    total = _disk_sum(shares + place, columns, disk_radius(radii, plane, MARGIN))
    tl.store(out + plane * height * width + y * width + x, total, mask=inside_image(y, x, height, width))


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        margin = MEAN_RADII[1]
        levels = fill_frame(levels_kernel, empty_frame(x, margin), x, MARGIN=margin, INSIDE=ONE, OUTSIDE=0)
        out = torch.empty_like(x)
        filter_tiles(_mean_kernel, levels, radius, out, margin=margin)
        ctx.save_for_backward(radius)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (radius,) = ctx.saved_tensors
        margin = MEAN_RADII[1]
        shares = fill_frame(_divide_kernel, empty_frame(gradient, margin), gradient.contiguous(), radius, MARGIN=margin)
        out = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        filter_tiles(_sum_kernel, shares, radius, out, margin=margin)
        return out, None


def mean(x: Tensor, params: Params) -> Tensor:
    """Return the mean of each disk. Two launches, and two for the gradient."""
    return _Mean.apply(x, params["radius"])
