"""Average similar pixels in two kernels; `bart.transforms.denoising.nl_means` defines what they compute.

The first estimates the noise of each plane, one program a plane. In the second, one program denoises one tile, of one channel
or of all three with common weights, in a loop over the shifts within the image's own distance. A lane of a warp follows one
column. As the shift goes down by a row, the six pixels of the column that a patch can hold move up by one in its registers. So
a shift costs one load, and the lane alone computes the sum over the patch's column. The sum over its columns comes from the
neighbouring lanes by two or three shuffles, so the outermost lanes of a warp only support the inner ones. This needs no tensor
cores, no shared memory and no barriers.
"""

import torch
import triton
import triton.language as tl

from bart.approximate_exp import CUTOFF, OFFSET, SLOPE
from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, plane_places, store_clipped
from bart.gpu_kernels.denoising.wavelet.filters import (
    COLUMNS,
    ROWS,
    band_length,
    high_tap,
    mirrored,
    row_entry,
    tile_count,
    tile_entries,
)
from bart.gpu_kernels.denoising.wavelet.noise import noise
from bart.gpu_kernels.denoising.wavelet.transform import SCHEDULE
from bart.transforms.denoising.nl_means import STEEPEST

TILE = 8
"""The rows of a tile, one for each warp: with more in its registers, fewer warps would fit."""
LANES = 32
"""Lanes of a warp, and columns of a tile, so that `tl.gather` along a row stays within a warp."""
BEFORE, AROUND = 2, 5
"""How far the largest patch reaches to the left of a pixel, and on both sides together."""
_ROUND = 2.0**24
"""Adding a number from -2^23 to 0 to this rounds it to a whole one; the bits then differ from these bits by that number:"""
_ROUND_BITS = 0x4B800000

_LANES, _BEFORE, _INNER = tl.constexpr(LANES), tl.constexpr(BEFORE), tl.constexpr(LANES - AROUND)
_CUTOFF, _SLOPE, _LEAST_SPREAD = tl.constexpr(CUTOFF), tl.constexpr(SLOPE), tl.constexpr(1 / STEEPEST)
_MAGIC, _SHIFTED = tl.constexpr(_ROUND), tl.constexpr(OFFSET - _ROUND_BITS)
_ROWS, _COLUMNS = tl.constexpr(ROWS), tl.constexpr(COLUMNS)


@triton.jit
def _noise_kernel(table, x, details, sigmas, height, width):
    """Estimate the noise of a plane from db2's details, float64, each product and sum rounded alone as in the eager code."""
    plane = tl.program_id(0)
    mine, origin, _ = plane_places(table, plane)
    if mine < 0:
        return
    rows, columns = band_length(height, 4), band_length(width, 4)
    source = x + origin * height * width
    target = details + plane.to(tl.int64) * rows * columns
    for tile in range(tile_count(rows, columns)):
        row, column, valid = tile_entries(tile, rows, columns)
        total = tl.zeros([_ROWS, _COLUMNS], tl.float64)
        for across in tl.static_range(4):
            along = tl.zeros([_ROWS, _COLUMNS], tl.float64)
            for down in tl.static_range(4):
                there = row_entry(mirrored(2 * row + 1 - down, height), column, across, width)
                value = tl.load(source + there, mask=valid, other=0)
                along += value.to(tl.float64) * high_tap("db2", down)
            total += along * high_tap("db2", across)
        tl.store(target + row * columns + column, total.to(tl.float32), mask=valid)
    tl.debug_barrier()
    tl.store(sigmas + plane, noise(target, rows * columns))


@triton.jit
def _reflected(i, size):
    """Return the index of a pixel where the image is mirrored about its outermost pixels; any pixel's index farther out."""
    i = tl.abs(i)
    return tl.maximum(tl.minimum(i, 2 * size - 2 - i), 0)


@triton.jit
def _row(image, y, column, height, width):
    """Load one pixel for each lane.

    `max_contiguous` marks lanes as neighbours, which is true except where a row is mirrored. So the compiler places them along
    the row in all its versions. That is safe, since no thread has more than one.
    """
    return tl.load(image + tl.max_contiguous(_reflected(y, height) * width + column, [1, _LANES]))


@triton.jit
def _six(image, y, column, height, width):
    """Return the pixels from two above y to three below."""
    return (
        _row(image, y - 2, column, height, width),
        _row(image, y - 1, column, height, width),
        _row(image, y, column, height, width),
        _row(image, y + 1, column, height, width),
        _row(image, y + 2, column, height, width),
        _row(image, y + 3, column, height, width),
    )


@triton.jit
def _next(six, image, y, column, height, width):
    """Return the result of `_six` at y, from that at y - 1."""
    return six[1], six[2], six[3], six[4], six[5], _row(image, y + 3, column, height, width)


@triton.jit
def _along(here, there, wide):
    """Return the squared differences of two columns of six added up, or of the inner four where not `wide`."""
    step_0, step_1, step_2 = there[0] - here[0], there[1] - here[1], there[2] - here[2]
    step_3, step_4, step_5 = there[3] - here[3], there[4] - here[4], there[5] - here[5]
    inner = step_1 * step_1 + step_2 * step_2 + step_3 * step_3 + step_4 * step_4
    return inner + wide * (step_0 * step_0 + step_5 * step_5)


@triton.jit
def _weight(along, left, right, wide, scale):
    """Return the approximate exp(-away) of the sums over patches, zero beyond the cutoff.

    `left`, `right`: lanes to add up, in pairs.
    """
    pair = along + tl.gather(along, tl.minimum(_lane(along) + 1, _LANES - 1), 1)
    away = (tl.gather(pair, left, 1) + tl.gather(pair, right, 1) + wide * pair) * scale
    bits = (tl.minimum(away, _CUTOFF) * -_SLOPE + _MAGIC).to(tl.int32, bitcast=True) + _SHIFTED
    return tl.where(away <= _CUTOFF, (bits << 3).to(tl.float32, bitcast=True), 0.0)


@triton.jit
def _lane(like):
    """Return the lane of each entry of a tile."""
    return tl.arange(0, _LANES)[None, :] + tl.zeros(like.shape, tl.int32)


@triton.jit
def _single(
    image, outputs, here, kept, y, x, height, width, left, right, wide, scale, distance, CLIP: tl.constexpr
):  # fmt: skip
    """Denoise one plane."""
    center = _six(image, y, _reflected(x, width), height, width)
    total = tl.zeros_like(center[2])
    weights = tl.zeros_like(center[2])
    for dx in range(-distance, distance + 1):
        column = _reflected(x + dx, width)
        other = _six(image, y - distance - 1, column, height, width)
        for dy in range(-distance, distance + 1):
            other = _next(other, image, y + dy, column, height, width)
            weight = _weight(_along(center, other, wide), left, right, wide, scale)
            total += weight * (other[2] - center[2])
            weights += weight
    store_clipped(outputs[0], outputs[1], here, here, center[2] + total / weights, kept, CLIP)


@triton.jit
def _joint(
    image, outputs, here, kept, y, x, height, width, left, right, wide, scale, distance, CLIP: tl.constexpr
):  # fmt: skip
    """Denoise three planes with common weights."""
    size = height * width
    column = _reflected(x, width)
    red = _six(image, y, column, height, width)
    green = _six(image + size, y, column, height, width)
    blue = _six(image + 2 * size, y, column, height, width)
    total_r = tl.zeros_like(red[2])
    total_g = tl.zeros_like(red[2])
    total_b = tl.zeros_like(red[2])
    weights = tl.zeros_like(red[2])
    for dx in range(-distance, distance + 1):
        column = _reflected(x + dx, width)
        other_r = _six(image, y - distance - 1, column, height, width)
        other_g = _six(image + size, y - distance - 1, column, height, width)
        other_b = _six(image + 2 * size, y - distance - 1, column, height, width)
        for dy in range(-distance, distance + 1):
            other_r = _next(other_r, image, y + dy, column, height, width)
            other_g = _next(other_g, image + size, y + dy, column, height, width)
            other_b = _next(other_b, image + 2 * size, y + dy, column, height, width)
            along = _along(red, other_r, wide) + _along(green, other_g, wide) + _along(blue, other_b, wide)
            weight = _weight(along, left, right, wide, scale)
            total_r += weight * (other_r[2] - red[2])
            total_g += weight * (other_g[2] - green[2])
            total_b += weight * (other_b[2] - blue[2])
            weights += weight
    out, inside = outputs
    store_clipped(out, inside, here, here, red[2] + total_r / weights, kept, CLIP)
    store_clipped(out, inside, size + here, size + here, green[2] + total_g / weights, kept, CLIP)
    store_clipped(out, inside, 2 * size + here, 2 * size + here, blue[2] + total_b / weights, kept, CLIP)


@triton.jit
def _nl_means_kernel(
    table, x, sigmas, hs, patches, distances, alones, out, inside, height, width, CLIP: tl.constexpr, TILE: tl.constexpr
):
    """Denoise one tile; program (slot, channel, tile).

    If the channels have common weights, the first channel's programs do all.
    """
    across = tl.cdiv(width, _INNER)
    tiles = across * tl.cdiv(height, TILE)
    tile = tl.program_id(0) % tiles
    channel = tl.program_id(0) // tiles % 3
    slot = tl.program_id(0) // (3 * tiles)
    row, source, target = places(table, slot)
    if row < 0:
        return
    alone = tl.load(alones + row) != 0
    if alone | (channel == 0):
        radius = tl.where(tl.load(patches + row) > 5, 3, 2)
        distance = tl.load(distances + row).to(tl.int32)
        total_noise = tl.load(sigmas + slot * 3) + tl.load(sigmas + slot * 3 + 1) + tl.load(sigmas + slot * 3 + 2)
        steps = tl.load(hs + row).to(tl.float64) * (total_noise / 3) * (2 * radius + 1)
        spread = tl.where(alone, 1, 3) * steps * steps
        scale = (1 / tl.maximum(spread, _LEAST_SPREAD)).to(tl.float32)

        lane = tl.arange(0, _LANES)[None, :]
        y = tile // across * TILE + tl.arange(0, TILE)[:, None]
        column = tile % across * _INNER + lane - _BEFORE
        kept = (y < height) & (lane >= _BEFORE) & (lane - _BEFORE < _INNER) & (column < width)
        here = y * width + column
        left = tl.maximum(lane - (radius - 1), 0) + tl.zeros([TILE, _LANES], tl.int32)
        right = tl.minimum(lane + (radius - 1), _LANES - 1) + tl.zeros([TILE, _LANES], tl.int32)
        wide = (radius - 2).to(tl.float32)
        size = height * width
        image = x + (source * 3 + channel) * size
        outputs = (out + (target * 3 + channel) * size, inside + (row * 3 + channel) * size)
        if alone:
            _single(image, outputs, here, kept, y, column, height, width, left, right, wide, scale, distance, CLIP)
        else:
            _joint(image, outputs, here, kept, y, column, height, width, left, right, wide, scale, distance, CLIP)


def _forward(part: Part) -> Saved:
    """Queue two launches."""
    (height, width), device = part.size, part.y.device
    details = torch.empty(3 * part.slots, (height + 3) // 2 * ((width + 3) // 2), device=device)
    sigmas = torch.empty(3 * part.slots, dtype=torch.float64, device=device)
    launcher.launch(_noise_kernel, 3 * part.slots, part.table, part.x, details, sigmas, height, width, **SCHEDULE)
    programs = 3 * part.slots * launcher.cdiv(height, TILE) * launcher.cdiv(width, LANES - AROUND)
    numbers = tuple(part.params[name] for name in ("h", "patch", "distance", "per_channel"))
    arguments = (part.table, part.x, sigmas, *numbers, part.y, part.inside, height, width)
    launcher.launch(_nl_means_kernel, programs, *arguments, CLIP=part.clip, TILE=TILE, num_warps=TILE)
    return ()


nl_means = Kernel(_forward)
"""Each pixel the mean of those with similar surroundings."""
