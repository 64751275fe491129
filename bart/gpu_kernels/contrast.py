"""Equalise histograms and stretch contrast: one program a channel. `bart.transforms.contrast` defines what each computes.

A program reads its plane, or its whole image, several times, from the cache, so a call is one launch. Percentiles are exact
order statistics: from +0 up, the bits of float32 values have the order of the values. The program finds the bits of a rank two
by two, from the highest, by counting the values below.
"""

import torch
import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked
from bart.transforms import contrast as eager

BLOCK = 8192
"""Values that a program processes at a time."""
WARPS = 32
"""Planes are few and processors many, so a plane gets as many threads as a program can have."""
TILE = 2048
"""Values of a program of the backward pass, which depends on no other values."""

_BINS = tl.constexpr(eager._MOST_BINS)
_LEAST_SPAN = tl.constexpr(eager._LEAST_SPAN)
_INFINITY = tl.constexpr(float("inf"))
_ABOVE_ALL = tl.constexpr(0x7F800000)
"""The bits of infinity."""
_PAIRS = tl.constexpr(15)
"""Pairs of bits of a value in [0, 1]: 1.0 is 0x3F800000."""


@triton.jit
def extremes(plane, size, BLOCK: tl.constexpr):
    """Return the least and the largest of the `size` values from `plane` on."""
    place = tl.arange(0, BLOCK)
    first = tl.load(plane)
    least = tl.zeros([BLOCK], tl.float32) + first
    largest = least
    for offset in range(0, size, BLOCK):
        values = tl.load(plane + offset + place, mask=offset + place < size, other=first)
        least = tl.minimum(least, values)
        largest = tl.maximum(largest, values)
    return tl.min(least, 0), tl.max(largest, 0)


@triton.jit
def _hist_eq_kernel(table, x, y, inside, bins, size, CLIP: tl.constexpr, BLOCK: tl.constexpr):
    """Map a channel by its cumulative histogram."""
    row, source, target = places(table, tl.program_id(0) // 3)
    if row < 0:
        return
    channel = tl.program_id(0) % 3
    x += (source * 3 + channel) * size
    y += (target * 3 + channel) * size
    inside += (row * 3 + channel) * size
    count = tl.load(bins + row * 3 + channel).to(tl.int32)
    place = tl.arange(0, BLOCK)
    least, largest = extremes(x, size, BLOCK)
    half = tl.where(least == largest, 0.5, 0.0).to(tl.float64)
    low = least.to(tl.float64) - half  # in double precision, as in the eager code
    scale = count.to(tl.float64) / (largest.to(tl.float64) + half - low)

    counts = tl.zeros([_BINS], tl.int32)
    for offset in range(0, size, BLOCK):
        valid = offset + place < size
        values = tl.load(x + offset + place, mask=valid, other=least)
        position = (values.to(tl.float64) - low) * scale
        counts += tl.histogram(tl.minimum(position.to(tl.int32), count - 1), _BINS, mask=valid)
    cdf = tl.div_rn(tl.cumsum(counts, 0).to(tl.float32), tl.zeros([_BINS], tl.float32) + size)

    for offset in range(0, size, BLOCK):
        valid = offset + place < size
        values = tl.load(x + offset + place, mask=valid, other=least)
        position = (values.to(tl.float64) - low) * scale - 0.5
        position = tl.minimum(tl.maximum(position, 0.0), (count - 1).to(tl.float64))
        index = position.to(tl.int32)
        within = (position - index.to(tl.float64)).to(tl.float32)
        here = tl.gather(cdf, index, 0)
        slope = tl.gather(cdf, tl.minimum(index + 1, _BINS - 1), 0) - here
        store_clipped(y, inside, offset + place, offset + place, here + slope * within, valid, CLIP)


def _hist_eq(part: Part) -> Saved:
    """Map each channel by its cumulative histogram."""
    images, size = (part.table, part.x, part.y, part.inside), part.size[0] * part.size[1]
    constants = {"CLIP": part.clip, "BLOCK": BLOCK, "num_warps": WARPS}
    launcher.launch(_hist_eq_kernel, 3 * part.slots, *images, part.params["bins"], size, **constants)
    return ()


hist_eq = Kernel(_hist_eq)
"""Map each channel by its cumulative histogram; no derivative."""


@triton.jit
def _bits(values, offset, count, BLOCK: tl.constexpr):
    """Return the bits of a block of values, as integers; beyond the last value, those of infinity."""
    place = offset + tl.arange(0, BLOCK)
    return tl.load(values + place, mask=place < count, other=_INFINITY).to(tl.int32, bitcast=True)


@triton.jit
def _both(bits, bottom_limit, top_limit):
    """Return 1 for each value below `bottom_limit`, plus 2^16 for each below `top_limit`: two counts in one register."""
    return (bits < bottom_limit).to(tl.int32) + ((bits < top_limit).to(tl.int32) << 16)


@triton.jit
def _passed(counts, rank_bottom, rank_top):
    """Return whether at most `rank` values were counted, at the bottom and at the top."""
    return (tl.sum(counts & 0xFFFF, 0) <= rank_bottom).to(tl.int32), (tl.sum(counts >> 16, 0) <= rank_top).to(tl.int32)


@triton.jit
def _ranked(values, count, rank_bottom, rank_top, BLOCK: tl.constexpr):
    """Return the bits of the values of two ranks; rank 0 is the least value."""
    bottom = tl.zeros_like(rank_bottom)
    top = tl.zeros_like(rank_top)
    for pair in range(0, _PAIRS):
        step = 0x10000000 >> (2 * pair)
        counts_1 = tl.zeros([BLOCK], tl.int32)
        counts_2 = tl.zeros([BLOCK], tl.int32)
        counts_3 = tl.zeros([BLOCK], tl.int32)
        for offset in range(0, count, BLOCK):
            bits = _bits(values, offset, count, BLOCK)
            counts_1 += _both(bits, bottom + step, top + step)
            counts_2 += _both(bits, bottom + 2 * step, top + 2 * step)
            counts_3 += _both(bits, bottom + 3 * step, top + 3 * step)
        bottom_1, top_1 = _passed(counts_1, rank_bottom, rank_top)
        bottom_2, top_2 = _passed(counts_2, rank_bottom, rank_top)
        bottom_3, top_3 = _passed(counts_3, rank_bottom, rank_top)
        bottom += step * (bottom_1 + bottom_2 + bottom_3)
        top += step * (top_1 + top_2 + top_3)
    return bottom, top


@triton.jit
def _lerp(here, there, part):
    """Interpolate from the nearer end, as torch does."""
    step = there - here
    return tl.where(part < 0.5, here + part * step, there - step * (1.0 - part))


@triton.jit
def _rank(count, percent):
    """Return the rank below a percentile of `count` values, and how far the percentile is from there to the next, in 0..1."""
    rank = percent.to(tl.float64) / 100.0 * (count - 1)  # in double precision, as in the eager code
    below = rank.to(tl.int32)
    return below, (rank - below).to(tl.float32)


@triton.jit
def _percentiles(values, count, low, high, BLOCK: tl.constexpr):
    """Return the percentiles `low` and `high` of `count` values, interpolated between the values of a rank and the next."""
    bottom_rank, bottom_part = _rank(count, low)
    top_rank, top_part = _rank(count, high)
    bottom, top = _ranked(values, count, bottom_rank, top_rank, BLOCK)

    counts = tl.zeros([BLOCK], tl.int32)
    over_bottom = tl.full([BLOCK], _ABOVE_ALL, tl.int32)
    over_top = over_bottom
    for offset in range(0, count, BLOCK):
        bits = _bits(values, offset, count, BLOCK)
        counts += _both(bits, bottom + 1, top + 1)
        over_bottom = tl.minimum(over_bottom, tl.where(bits > bottom, bits, _ABOVE_ALL))
        over_top = tl.minimum(over_top, tl.where(bits > top, bits, _ABOVE_ALL))
    bottom_last, top_last = _passed(counts, bottom_rank + 1, top_rank + 1)
    bottom_next = tl.where(bottom_last != 0, tl.min(over_bottom, 0), bottom).to(tl.float32, bitcast=True)
    top_next = tl.where(top_last != 0, tl.min(over_top, 0), top).to(tl.float32, bitcast=True)
    bottom_value = _lerp(bottom.to(tl.float32, bitcast=True), bottom_next, bottom_part)
    return bottom_value, _lerp(top.to(tl.float32, bitcast=True), top_next, top_part)


@triton.jit
def _divisor(low, high):
    """Return the width of the range that is stretched; infinity for a channel without contrast."""
    return tl.where(high - low < _LEAST_SPAN, _INFINITY, high - low)


@triton.jit
def _stretch_kernel(table, x, y, inside, per_channel, lows, highs, bounds, size, CLIP: tl.constexpr, BLOCK: tl.constexpr):
    """Stretch a channel and store its percentiles in `bounds`; those of a whole image are found once for each channel."""
    row, source, target = places(table, tl.program_id(0) // 3)
    if row < 0:
        return
    channel = tl.program_id(0) % 3
    alone = tl.load(per_channel + row) != 0
    first = tl.where(alone, channel, 0)
    count = tl.where(alone, size, 3 * size)
    own = x + (source * 3 + first) * size
    low, high = _percentiles(own, count, tl.load(lows + row * 3 + first), tl.load(highs + row * 3 + first), BLOCK)
    tl.store(bounds + 2 * tl.program_id(0), low)
    tl.store(bounds + 2 * tl.program_id(0) + 1, high)

    divisor = _divisor(low, high)
    constant = tl.where(divisor == _INFINITY, low, 0.0)
    x += (source * 3 + channel) * size
    y += (target * 3 + channel) * size
    inside += (row * 3 + channel) * size
    place = tl.arange(0, BLOCK)
    for offset in range(0, size, BLOCK):
        valid = offset + place < size
        values = tl.load(x + offset + place, mask=valid, other=0.0)
        stretched = tl.div_rn(tl.minimum(tl.maximum(values, low), high) - low, divisor)
        store_clipped(y, inside, offset + place, offset + place, stretched + constant, valid, CLIP)


@triton.jit
def _stretch_backward_kernel(table, x, gradient, out, inside, bounds, size, CLIP: tl.constexpr, TILE: tl.constexpr):
    """Divide the gradient by the width of the range, zero where values were clipped."""
    tiles = tl.cdiv(size, TILE)
    plane = tl.program_id(0) // tiles
    row, source, _ = places(table, plane // 3)
    if row < 0:
        return
    place = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    low = tl.load(bounds + 2 * plane)
    high = tl.load(bounds + 2 * plane + 1)
    valid = place < size
    here = (row * 3 + plane % 3) * size + place
    values = tl.load(x + (source * 3 + plane % 3) * size + place, mask=valid, other=0.0)
    incoming = tl.load(gradient + here, mask=valid, other=0.0)
    kept = (values >= low) & (values <= high)
    store_masked(out, inside, here, tl.where(kept, tl.div_rn(incoming, _divisor(low, high)), 0.0), valid, CLIP)


def _stretch(part: Part) -> Saved:
    """Stretch each channel, or each image as a whole. Saves the percentiles of each channel, (c, 3, 2)."""
    bounds = torch.empty((part.slots, 3, 2), device=part.y.device)
    images, size = (part.table, part.x, part.y, part.inside), part.size[0] * part.size[1]
    numbers = (part.params[name] for name in ("per_channel", "low", "high"))
    constants = {"CLIP": part.clip, "BLOCK": BLOCK, "num_warps": WARPS}
    launcher.launch(_stretch_kernel, 3 * part.slots, *images, *numbers, bounds, size, **constants)
    return (bounds,)


def _stretch_backward(part: Part, saved: Saved) -> None:
    """Compute the gradient."""
    images, size = (part.table, part.x, part.gradient, part.y, part.inside), part.size[0] * part.size[1]
    programs = 3 * part.slots * launcher.cdiv(size, TILE)
    launcher.launch(_stretch_backward_kernel, programs, *images, *saved, size, CLIP=part.clip, TILE=TILE, num_warps=4)


contrast_stretch = Kernel(_stretch, _stretch_backward, keeps=True)
"""Map percentiles of each channel, or of the whole image, to 0 and 1. The gradient is exact given the percentiles."""
