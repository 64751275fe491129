"""Rank filters as Triton kernels: one program filters one tile of one plane with that plane's own disk.

The eager twins in `bart.transforms.rank` define what each computes; here the window loop runs inside the kernel, so a call is
one launch and a plane pays for its own radius only. The rows of a tile's windows come from the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_H, TILE_W = 16, 32


@triton.jit
def _tile(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """This program's plane, where it begins, and the rows and columns of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    plane = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles
    y = tile // across * TILE_H + tl.arange(0, TILE_H)[:, None]
    x = tile % across * TILE_W + tl.arange(0, TILE_W)[None, :]
    return plane, plane.to(tl.int64) * height * width, y, x


@triton.jit
def _half(radius, dy):
    """How far the disk reaches in its row dy."""
    return tl.sqrt((radius * radius - dy * dy).to(tl.float32) + 0.5).to(tl.int32)


@triton.jit
def _inside(y, x, height, width):
    return (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def _median_kernel(levels, radii, out, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    plane, start, y, x = _tile(height, width, TILE_H, TILE_W)
    radius = tl.load(radii + plane)
    population = tl.zeros([TILE_H, TILE_W], tl.int32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        columns = tl.minimum(x + half, width - 1) - tl.maximum(x - half, 0) + 1
        population += tl.where((y + dy >= 0) & (y + dy < height), columns, 0)
    rank = population // 2

    median = tl.zeros([TILE_H, TILE_W], tl.int32)
    for digit in tl.static_range(4):  # two bits at a time: half the loads of one, and three comparisons instead of two
        step = 64 >> (2 * digit)
        below_1 = tl.zeros([TILE_H, TILE_W], tl.int32)
        below_2 = tl.zeros([TILE_H, TILE_W], tl.int32)
        below_3 = tl.zeros([TILE_H, TILE_W], tl.int32)
        for dy in range(-radius, radius + 1):
            half = _half(radius, dy)
            for dx in range(-half, half + 1):
                inside = _inside(y + dy, x + dx, height, width)
                level = tl.load(levels + start + (y + dy) * width + x + dx, mask=inside, other=255).to(tl.int32) - median
                below_1 += (level < step).to(tl.int32)
                below_2 += (level < 2 * step).to(tl.int32)
                below_3 += (level < 3 * step).to(tl.int32)
        passed = (below_1 <= rank).to(tl.int32) + (below_2 <= rank).to(tl.int32) + (below_3 <= rank).to(tl.int32)
        median += step * passed
    tl.store(out + start + y * width + x, median.to(tl.uint8), mask=_inside(y, x, height, width))


@triton.jit
def _share_kernel(levels, medians, gradient, radii, out, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Each gradient divided by the number of pixels that share it."""
    plane, start, y, x = _tile(height, width, TILE_H, TILE_W)
    radius = tl.load(radii + plane)
    here = start + y * width + x
    valid = _inside(y, x, height, width)
    median = tl.load(medians + here, mask=valid, other=0).to(tl.int32)
    ties = tl.zeros([TILE_H, TILE_W], tl.int32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            inside = _inside(y + dy, x + dx, height, width)
            level = tl.load(levels + here + dy * width + dx, mask=inside, other=0).to(tl.int32)
            ties += (inside & (level == median)).to(tl.int32)
    value = tl.load(gradient + here, mask=valid, other=0)
    tl.store(out + here, value / tl.maximum(ties, 1).to(value.dtype), mask=valid)


@triton.jit
def _gather_kernel(levels, medians, shares, radii, out, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """The shares of all outputs that selected this pixel's level."""
    plane, start, y, x = _tile(height, width, TILE_H, TILE_W)
    radius = tl.load(radii + plane)
    here = start + y * width + x
    valid = _inside(y, x, height, width)
    level = tl.load(levels + here, mask=valid, other=0).to(tl.int32)
    total = tl.zeros([TILE_H, TILE_W], shares.dtype.element_ty)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            inside = _inside(y + dy, x + dx, height, width)
            median = tl.load(medians + here + dy * width + dx, mask=inside, other=0).to(tl.int32)
            total += tl.load(shares + here + dy * width + dx, mask=inside & (median == level), other=0)
    tl.store(out + here, total, mask=valid)


@triton.jit
def _mean_bilateral_kernel(levels, radii, s0s, s1s, out, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    plane, start, y, x = _tile(height, width, TILE_H, TILE_W)
    radius = tl.load(radii + plane)
    s0 = tl.load(s0s + plane)
    s1 = tl.load(s1s + plane)
    here = start + y * width + x
    valid = _inside(y, x, height, width)
    center = tl.load(levels + here, mask=valid, other=0).to(tl.int32)
    total = tl.zeros([TILE_H, TILE_W], tl.int32)
    count = tl.zeros([TILE_H, TILE_W], tl.int32)
    for dy in range(-radius, radius + 1):
        half = _half(radius, dy)
        for dx in range(-half, half + 1):
            inside = _inside(y + dy, x + dx, height, width)
            level = tl.load(levels + here + dy * width + dx, mask=inside, other=0).to(tl.int32)
            kept = inside & (level - center < s0) & (center - level < s1)
            total += tl.where(kept, level, 0)
            count += kept.to(tl.int32)
    tl.store(out + here, (total // tl.maximum(count, 1)).to(tl.uint8), mask=valid)


def _launch(kernel, like: Tensor, *arguments: Tensor) -> Tensor:
    """The result of `kernel` on planes (m, h, w) and numbers (m,) per plane, of the shape and type of `like`."""
    m, height, width = like.shape
    out = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    programs = m * triton.cdiv(height, TILE_H) * triton.cdiv(width, TILE_W)
    given = [a.contiguous() if a.dim() == 3 else a.int() for a in arguments]
    with torch.cuda.device_of(out):  # Triton launches on the current device, which need not be that of the planes
        kernel[(programs,)](*given, out, height, width, TILE_H=TILE_H, TILE_W=TILE_W)
    return out


def median(levels: Tensor, radius: Tensor) -> Tensor:
    """The upper median of each disk: levels (m, h, w) uint8, radius (m,) int in 1..., uint8 back."""
    return _launch(_median_kernel, levels, levels, radius)


def median_backward(levels: Tensor, median: Tensor, gradient: Tensor, radius: Tensor) -> Tensor:
    """The gradient (m, h, w) of each output in equal shares to the pixels of its disk that have the median's level."""
    shares = _launch(_share_kernel, gradient, levels, median, gradient, radius)
    return _launch(_gather_kernel, gradient, levels, median, shares, radius)


def mean_bilateral(levels: Tensor, radius: Tensor, s0: Tensor, s1: Tensor) -> Tensor:
    """The mean of those levels v of each disk with g - s1 < v < g + s0: levels (m, h, w) uint8, the others (m,) int."""
    return _launch(_mean_bilateral_kernel, levels, levels, radius, s0, s1)
