"""Rank filters as Triton kernels: one program filters one tile of one plane with that plane's own disk.

A first launch rounds the images to 8-bit levels and lays each plane into a frame, wide enough for the largest disk about the
last pixel of the last tile. What lies outside the image has a value there that counts for nothing, so that the loops over a
disk check no borders. Sums and numbers of pixels are taken together: a level carries the number one above the bits of the sum.

Levels are floats, exact: a GPU adds them twice as fast as integers, and counts by additions alone (`_positive`).

The bilateral mean is the expensive one, with up to 1257 pixels a disk. A program's tile there is four tiles of rows, each with
its own sums, interleaved such that one pixel that was loaded serves four neighbours in a column: what is left for each pixel of
a disk is a subtraction from the middle of the window, one from its width, and a multiplication with addition.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.transforms.denoising.rank import BILATERAL_RADII, MEAN_RADII, MEDIAN_RADII
from bart.types import Params

TILE_H, TILE_W = 16, 32
BLOCK = 1024
ONE = 1 << 14
"""The number one, above the bits of a sum of levels: over a row of up to 41 pixels, or a disk of up to 29."""
NEVER = 511
"""No level: neither below one nor equal to one."""
COLUMN = 4
"""Neighbours in a column that share the pixels loaded, in the bilateral mean."""
BILATERAL_H = 2
"""Rows of fours: 8 x 32 px for a single warp. The programs are many and small since their work differs by the hundredfold."""

_ONE = tl.constexpr(ONE)
_ONE_OF_ALL = tl.constexpr(1 << 19)  # the same above the sum over a disk of 1257
_START, _START_BITS = tl.constexpr(2.0**23), tl.constexpr(0x4B000000)


@triton.jit
def _inside(y, x, height, width):
    return (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def _framed(height, width, rows, columns, MARGIN: tl.constexpr, BLOCK: tl.constexpr):
    """This program's plane and block of a frame: the places in the frame, and those in the plane with whether they exist."""
    blocks = tl.cdiv(rows * columns, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    y, x = place // columns - MARGIN, place % columns - MARGIN
    return plane, place, y, x, _inside(y, x, height, width)


@triton.jit
def _tile(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """This program's plane, and the first row and column of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    return (tl.program_id(0) // tiles).to(tl.int64), tile // across * TILE_H, tile % across * TILE_W


@triton.jit
def _places(height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """This program's plane, the rows and columns of its tile, and where its pixels are in the frames."""
    plane, y, x = _tile(height, width, TILE_H, TILE_W)
    y += tl.arange(0, TILE_H)[:, None]
    x += tl.arange(0, TILE_W)[None, :]
    return plane, y, x, plane * rows * columns + (y + MARGIN) * columns + x + MARGIN


@triton.jit
def _radius(radii, plane, MARGIN: tl.constexpr):
    return tl.minimum(tl.load(radii + plane).to(tl.int32), MARGIN)


@triton.jit
def _half(radius, dy):
    """How far the disk reaches in its row dy."""
    return tl.sqrt((radius * radius - dy * dy).to(tl.float32) + 0.5).to(tl.int32)


@triton.jit
def _population(y, x, height, width, radius):
    """The number of pixels of each disk inside the image."""
    total = tl.zeros_like(y + x)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        columns = tl.minimum(x + half, width - 1) - tl.maximum(x - half, 0) + 1
        total += tl.where((y + dy >= 0) & (y + dy < height), columns, 0)
    return total


@triton.jit
def _disk_sum(center, columns, radius):
    """The sum over each disk of what `center` points at the middle of."""
    total = tl.zeros(center.shape, tl.float32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            total += tl.load(center + dy * columns + dx)
    return total


@triton.jit
def _positive(whole):
    """1 for a positive whole number, 0 for others. A GPU cuts a float to 0..1 as it adds: faster than to select."""
    return tl.clamp(whole, 0.0, 1.0)


@triton.jit
def _image(level):
    return tl.div_rn(level.to(tl.float32), 255.0)


@triton.jit
def _levels_kernel(
    x, levels, height, width, rows, columns,
    MARGIN: tl.constexpr, INSIDE: tl.constexpr, OUTSIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Levels plus INSIDE, rounded half to even, in a frame of OUTSIDE."""
    plane, place, row, column, valid = _framed(height, width, rows, columns, MARGIN, BLOCK)
    value = tl.load(x + plane * height * width + row * width + column, mask=valid, other=0.0)
    # the product as float32 rounds it: by way of float64, since it must not become part of a fused operation
    value = (tl.minimum(tl.maximum(value, 0.0), 1.0).to(tl.float64) * 255.0).to(tl.float32)
    floor = tl.floor(value)
    level = floor.to(tl.int32)
    up = (value - floor > 0.5) | ((value - floor == 0.5) & (level % 2 == 1))
    level += up.to(tl.int32)
    tl.store(levels + plane * rows * columns + place, tl.where(valid, level + INSIDE, OUTSIDE), mask=place < rows * columns)


@triton.jit
def _median_kernel(
    levels, radii, medians, out, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """The largest level that at most population // 2 pixels of the disk are below."""
    plane, y, x, place = _places(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = _radius(radii, plane, MARGIN)
    rank = _population(y, x, height, width, radius) // 2
    median = tl.zeros([TILE_H, TILE_W], tl.float32)
    for digit in tl.static_range(4):  # two bits at a time: half the loads of one, and three comparisons instead of two
        step = 64 >> (2 * digit)
        below_1 = tl.zeros([TILE_H, TILE_W], tl.float32)
        below_2 = tl.zeros([TILE_H, TILE_W], tl.float32)
        below_3 = tl.zeros([TILE_H, TILE_W], tl.float32)
        for dy in range(-radius, radius + 1):
            half = _half(radius, dy)
            row = levels + place + dy * columns
            for dx in range(-half, half + 1):
                level = tl.load(row + dx)
                below_1 += _positive(median + step - level)
                below_2 += _positive(median + 2 * step - level)
                below_3 += _positive(median + 3 * step - level)
        passed = (below_1 <= rank).to(tl.float32) + (below_2 <= rank).to(tl.float32) + (below_3 <= rank).to(tl.float32)
        median += step * passed
    here = plane * height * width + y * width + x
    valid = _inside(y, x, height, width)
    tl.store(medians + here, median.to(tl.uint8), mask=valid)
    tl.store(out + here, _image(median), mask=valid)


@triton.jit
def _share_kernel(
    levels, medians, radii, gradient, shares, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Each gradient divided by the number of pixels that share it: those of the disk that have the median's level."""
    plane, y, x, place = _places(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = _radius(radii, plane, MARGIN)
    here = plane * height * width + y * width + x
    valid = _inside(y, x, height, width)
    median = tl.load(medians + here, mask=valid, other=0).to(tl.float32)
    ties = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            ties += _positive(1.0 - tl.abs(tl.load(levels + place + dy * columns + dx) - median))
    value = tl.load(gradient + here, mask=valid, other=0.0)
    tl.store(shares + here, value / tl.maximum(ties, 1.0), mask=valid)


@triton.jit
def _gather_kernel(
    levels, medians, radii, shares, out, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """The shares of all outputs that selected this pixel's level."""
    plane, y, x, place = _places(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    radius = _radius(radii, plane, MARGIN)
    here = plane * height * width + y * width + x
    level = tl.load(levels + place)
    total = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            inside = _inside(y + dy, x + dx, height, width)
            median = tl.load(medians + here + dy * width + dx, mask=inside, other=0).to(tl.float32)
            share = tl.load(shares + here + dy * width + dx, mask=inside, other=0.0)
            total += share * _positive(1.0 - tl.abs(median - level))
    tl.store(out + here, total, mask=_inside(y, x, height, width))


@triton.jit
def _store_mean(out, total, ONE: tl.constexpr, y, x, height, width):
    """The mean level of each disk, its fraction cut off, from sum and number of its pixels, in units of ONE."""
    level = (total % ONE) // tl.maximum(total // ONE, 1)
    tl.store(out + y * width + x, _image(level), mask=_inside(y, x, height, width))


@triton.jit
def _mean_kernel(
    levels, radii, out, height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    plane, y, x, place = _places(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    total = _disk_sum(levels + place, columns, _radius(radii, plane, MARGIN)).to(tl.int32)
    _store_mean(out + plane * height * width, total, _ONE, y, x, height, width)


@triton.jit
def _divide_kernel(
    gradient, radii, shares, height, width, rows, columns, MARGIN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Each gradient divided by the number of pixels of its disk, in a frame of zeros."""
    plane, place, y, x, valid = _framed(height, width, rows, columns, MARGIN, BLOCK)
    value = tl.load(gradient + plane * height * width + y * width + x, mask=valid, other=0.0)
    population = _population(y, x, height, width, _radius(radii, plane, MARGIN))
    share = tl.where(valid, value / tl.maximum(population, 1).to(tl.float32), 0.0)
    tl.store(shares + plane * rows * columns + place, share, mask=place < rows * columns)


@triton.jit
def _sum_kernel(
    shares, radii, out, height, width, rows, columns, MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    plane, y, x, place = _places(height, width, rows, columns, MARGIN, TILE_H, TILE_W)
    total = _disk_sum(shares + place, columns, _radius(radii, plane, MARGIN))
    tl.store(out + plane * height * width + y * width + x, total, mask=_inside(y, x, height, width))


@triton.jit
def _kept(level, middle, limit):
    """The pixel itself if its level is less than `limit` from `middle`, else 0; `limit` less that distance is whole."""
    return level * _positive(limit - tl.abs(level - middle))


@triton.jit
def _counted(total):
    """Sum and number of a row, in units of ONE_OF_ALL, from what was added to START: floats there are a unit apart."""
    total = total.to(tl.int32, bitcast=True) - _START_BITS
    return total // _ONE * _ONE_OF_ALL + total % _ONE


@triton.jit
def _mean_bilateral_kernel(
    levels, radii, s0s, s1s, out, height, width, rows, columns,
    MARGIN: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """The disks of rows y, y + 1, y + 2, y + 3, for every fourth row y of the tile."""
    plane, top, left = _tile(height, width, 4 * TILE_H, TILE_W)
    y = top + 4 * tl.arange(0, TILE_H)[:, None]
    x = left + tl.arange(0, TILE_W)[None, :]
    place = levels + plane * rows * columns + (y + MARGIN) * columns + x + MARGIN
    radius = _radius(radii, plane, MARGIN - 1)
    s0 = tl.load(s0s + plane).to(tl.float32)
    s1 = tl.load(s1s + plane).to(tl.float32)
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
        widest = _half(radius, tl.minimum(dy, tl.maximum(dy - 3, 0)))
        for first in range(1, widest + 1, 2):
            for step in tl.static_range(2):  # four pixels are on their way at a time
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
    _store_mean(out + plane * height * width, total_0, _ONE_OF_ALL, y, x, height, width)
    _store_mean(out + plane * height * width, total_1, _ONE_OF_ALL, y + 1, x, height, width)
    _store_mean(out + plane * height * width, total_2, _ONE_OF_ALL, y + 2, x, height, width)
    _store_mean(out + plane * height * width, total_3, _ONE_OF_ALL, y + 3, x, height, width)


def _frame(x: Tensor, margin: int) -> Tensor:
    """Room for all planes of `x`, (3 n, rows, columns): whole tiles with a margin around."""
    n, channels, height, width = x.shape
    rows, columns = triton.cdiv(height, TILE_H) * TILE_H, triton.cdiv(width, TILE_W) * TILE_W
    return torch.empty((n * channels, rows + 2 * margin, columns + 2 * margin), dtype=torch.float32, device=x.device)


def _fill(kernel: Any, frame: Tensor, x: Tensor, *others: Tensor, **constants: int) -> Tensor:
    """`frame`, written by a kernel from the planes of `x` and what there is to each plane."""
    planes, rows, columns = frame.shape
    programs = planes * triton.cdiv(rows * columns, BLOCK)
    launcher.launch(kernel, programs, x, *others, frame, *x.shape[2:], rows, columns, **constants, BLOCK=BLOCK)
    return frame


def _filter(kernel: Any, frame: Tensor, *others: Tensor, margin: int) -> None:
    """Runs a kernel over the tiles of all planes; the last of `others` is an image that it writes."""
    height, width = others[-1].shape[2:]
    programs = len(frame) * triton.cdiv(height, TILE_H) * triton.cdiv(width, TILE_W)
    sizes = (height, width, *frame.shape[1:])
    launcher.launch(kernel, programs, frame, *others, *sizes, MARGIN=margin, TILE_H=TILE_H, TILE_W=TILE_W)


class _Median(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        margin = MEDIAN_RADII[1]
        levels = _fill(_levels_kernel, _frame(x, margin), x, MARGIN=margin, INSIDE=0, OUTSIDE=NEVER)
        medians, out = torch.empty_like(x, dtype=torch.uint8), torch.empty_like(x)
        _filter(_median_kernel, levels, radius, medians, out, margin=margin)
        ctx.save_for_backward(levels, medians, radius)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        levels, medians, radius = ctx.saved_tensors
        gradient = gradient.contiguous()
        shares, out = torch.empty_like(gradient), torch.empty_like(gradient)
        _filter(_share_kernel, levels, medians, radius, gradient, shares, margin=MEDIAN_RADII[1])
        _filter(_gather_kernel, levels, medians, radius, shares, out, margin=MEDIAN_RADII[1])
        return out, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        margin = MEAN_RADII[1]
        levels = _fill(_levels_kernel, _frame(x, margin), x, MARGIN=margin, INSIDE=ONE, OUTSIDE=0)
        out = torch.empty_like(x)
        _filter(_mean_kernel, levels, radius, out, margin=margin)
        ctx.save_for_backward(radius)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (radius,) = ctx.saved_tensors
        margin = MEAN_RADII[1]
        shares = _fill(_divide_kernel, _frame(gradient, margin), gradient.contiguous(), radius, MARGIN=margin)
        out = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        _filter(_sum_kernel, shares, radius, out, margin=margin)
        return out, None


def median(x: Tensor, params: Params) -> Tensor:
    """The upper median of each disk. Two launches, and two for the gradient."""
    return _Median.apply(x, params["radius"])


def mean(x: Tensor, params: Params) -> Tensor:
    """The mean of each disk. Two launches, and two for the gradient."""
    return _Mean.apply(x, params["radius"])


@torch.no_grad()
def mean_bilateral(x: Tensor, params: Params) -> Tensor:
    """The mean of those levels v of each disk with g - s1 < v < g + s0. Two launches."""
    margin = BILATERAL_RADII[1] + 1  # two pixels at once may be one too far
    levels = _fill(_levels_kernel, _frame(x, margin), x, MARGIN=margin, INSIDE=ONE, OUTSIDE=0)
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    programs = len(levels) * triton.cdiv(height, COLUMN * BILATERAL_H) * triton.cdiv(width, TILE_W)
    numbers = (params["radius"], params["s0"], params["s1"], out, height, width, *levels.shape[1:])
    tile = {"TILE_H": BILATERAL_H, "TILE_W": TILE_W, "num_warps": 1}
    launcher.launch(_mean_bilateral_kernel, programs, levels, *numbers, MARGIN=margin, **tile)
    return out
