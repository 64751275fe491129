"""Compute CLAHE in three launches: levels, maps and interpolation. `bart.transforms.clahe` defines what they compute.

A plane's ranges, at the beginning and at the end, need all its pixels. So the first and the last launch have one program a
plane. Most of the arithmetic, the histograms and the spreading of their excess, concerns one tile alone, and there are a
hundred of them. So in the second launch a program makes the map of one tile, and all processors share the work.

Where an image is equalised as a whole, its first plane is the value of HSV, and the programs of the two others end at once.
"""

import torch
import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped
from bart.transforms import clahe as eager

BLOCK = 8192
"""Values of a plane that a program of the first launch processes at a time."""
PIXELS = 512
"""Pixels of a tile that a program of the second launch processes at a time."""
ROWS, COLUMNS = 32, 128
"""Rows and columns of a plane that a program of the last launch processes at a time."""

_BINS = tl.constexpr(eager._BINS)
_GREYS = tl.constexpr(eager._GREYS)
_GREYS_PER_BIN = tl.constexpr(eager._GREYS_PER_BIN)
_ROUNDS = tl.constexpr(eager._ROUNDS)


@triton.jit
def _round(values):
    """Round to the nearest integer, ties to even. It uses comparisons, which no fused operation can change."""
    whole = tl.floor(values)
    odd = whole.to(tl.int32) & 1
    return whole + ((values > whole + 0.5) | ((values == whole + 0.5) & (odd == 1))).to(tl.float32)


@triton.jit
def _rescale(values, low, high, TOP: tl.constexpr):
    """Stretch the range low..high of integers to 0..TOP; clip a constant plane."""
    stretched = tl.div_rn(values - low, tl.maximum(high - low, 1.0)) * TOP
    return tl.where(high > low, stretched, tl.minimum(values, TOP))


@triton.jit
def _is_equalised(per_channel, row, plane):
    """Return whether a plane is equalised: its slot has an image, and it is a channel of its own or the value of its image."""
    alone = tl.load(per_channel + tl.maximum(row, 0)) != 0
    return (row >= 0) & (alone | (plane % 3 == 0)), alone


@triton.jit
def _values(channels, place, size, inside, alone):
    """Return values of the first of `channels`, each of `size`, or the largest of the three where it is not `alone`."""
    values = tl.load(channels + place, mask=inside, other=0.0)
    for channel in tl.static_range(1, 3):
        values = tl.maximum(values, tl.load(channels + channel * size + place, mask=inside & (alone == 0), other=0.0))
    return values


@triton.jit
def _levels_kernel(table, x, per_channel, bins, size, BLOCK: tl.constexpr):
    """Store the bin of each pixel, by slot."""
    plane = tl.program_id(0)
    row, source, _ = places(table, plane // 3)
    equalised, alone = _is_equalised(per_channel, row, plane)
    start = plane.to(tl.int64) * size
    place = tl.arange(0, BLOCK)
    if equalised:
        x += (source * 3 + plane % 3) * size
        least = tl.full([BLOCK], 1.0, tl.float32)
        largest = tl.zeros([BLOCK], tl.float32)
        for offset in range(0, size, BLOCK):
            inside = offset + place < size
            values = _values(x, offset + place, size, inside, alone)
            least = tl.minimum(least, tl.where(inside, values, 1.0))
            largest = tl.maximum(largest, values)
        low, high = _round(tl.min(least, 0) * 65535.0), _round(tl.max(largest, 0) * 65535.0)
        for offset in range(0, size, BLOCK):
            inside = offset + place < size
            values = _values(x, offset + place, size, inside, alone)
            greys = _round(_rescale(_round(values * 65535.0), low, high, _GREYS))
            tl.store(bins + start + offset + place, (greys.to(tl.int32) // _GREYS_PER_BIN).to(tl.uint8), mask=inside)


@triton.jit
def _mirrored(place, side):
    """Mirror a place beyond the last row or column."""
    return tl.where(place < side, place, 2 * (side - 1) - place)


@triton.jit
def _clipped(counts, limit):
    """Return a histogram clipped at `limit`, and the counts that remain after equal shares for all bins."""
    excess = tl.sum(tl.maximum(counts - limit, 0), 0)
    share = excess // _BINS
    counts = tl.minimum(counts, limit)
    low = (counts < limit - share).to(tl.int32)
    counts += share * low
    excess -= share * tl.sum(low, 0)
    nearly = counts >= limit - share  # filled up from the excess, which may become negative
    return tl.where(nearly, limit, counts), excess - tl.sum(tl.where(nearly, limit - counts, 0), 0)


@triton.jit
def _spread(counts, excess, limit):
    """Add one count each to the bins below the limit until the excess is used up: in round i from bin i, at even distances."""
    bin_ = tl.arange(0, _BINS)
    i = 0
    while (i < _ROUNDS) & (excess > 0):
        open_ = counts < limit
        distance = tl.maximum(tl.sum(open_.to(tl.int32), 0) // excess, 1)
        hit = (open_ & (bin_ >= i) & ((bin_ - i) % distance == 0)).to(tl.int32)
        counts += hit
        excess -= tl.sum(hit, 0)
        i += 1
    return counts


@triton.jit
def _maps_kernel(table, bins, per_channel, heights, widths, limits, maps, height, width, down, across, PIXELS: tl.constexpr):
    """Store the grey level for each bin, in each of `down` x `across` tiles. With large tiles, the last ones do not exist."""
    plane = tl.program_id(0) // (down * across)
    row_, _, _ = places(table, plane // 3)
    equalised, _ = _is_equalised(per_channel, row_, plane)
    if equalised:
        number = row_ * 3 + plane % 3
        tile_h = tl.load(heights + number).to(tl.int32)
        tile_w = tl.load(widths + number).to(tl.int32)
        top = tl.program_id(0) // across % down * tile_h
        left = tl.program_id(0) % across * tile_w
        if (top < height) & (left < width):
            start = plane.to(tl.int64) * height * width
            area = tile_h * tile_w
            counts = tl.zeros([_BINS], tl.int32)
            for offset in range(0, area, PIXELS):
                place = offset + tl.arange(0, PIXELS)
                row = place // tile_w
                column = _mirrored(left + place - row * tile_w, width)
                row = _mirrored(top + row, height)
                values = tl.load(bins + start + row * width + column, mask=place < area, other=0)
                counts += tl.histogram(values.to(tl.int32), _BINS, mask=place < area)

            limit = tl.maximum((tl.load(limits + number) * area.to(tl.float32)).to(tl.int32), 1)
            counts, excess = _clipped(counts, limit)
            counts = _spread(counts, excess, limit)
            scale = tl.div_rn(1.0, area.to(tl.float32)) * _GREYS  # rounded twice, as torch divides by a tensor
            greys = tl.minimum(tl.cumsum(counts, 0).to(tl.float32) * scale, _GREYS)
            there = maps + tl.program_id(0).to(tl.int64) * _BINS + tl.arange(0, _BINS)
            tl.store(there, greys.to(tl.int16))


@triton.jit
def _neighbours(place, side, length):
    """Return the tiles before and after each place along `side`, and how far it is from one centre to the other, in 0..1."""
    place += length // 2
    last = tl.cdiv(side, length) - 1
    after = place // length
    part = tl.div_rn((place % length).to(tl.float32), length.to(tl.float32))
    return tl.minimum(tl.maximum(after - 1, 0), last), tl.minimum(after, last), part


@triton.jit
def _lerp(first, second, part):
    """Interpolate from the nearer end and fused, as torch does: two equal values do not change."""
    near = part < 0.5
    return tl.fma(tl.where(near, part, part - 1.0), second - first, tl.where(near, first, second))


@triton.jit
def _row_of_tiles(maps, row, left, right, bin_, part):
    """Map the bins by the tiles `left` and `right` in a row of tiles that begins with tile `row`, and interpolate."""
    first = tl.load(maps + (row + left) * _BINS + bin_).to(tl.float32)
    second = tl.load(maps + (row + right) * _BINS + bin_).to(tl.float32)
    return _lerp(first, second, part)


@triton.jit
def _store(x, y, inside, place, size, valid, alone, equalised, CLIP: tl.constexpr):
    """Store values in `y`: of a channel, or of HSV into the three channels of `x`, whose hue and saturation stay."""
    if alone:
        store_clipped(y, inside, place, place, equalised, valid, CLIP)
    else:
        value = _values(x, place, size, valid, alone)
        for channel in tl.static_range(3):
            here = channel * size + place
            share = tl.div_rn(tl.load(x + here, mask=valid, other=0.0), tl.where(value > 0, value, 1.0))
            store_clipped(y, inside, here, here, tl.where(value > 0, share, 1.0) * equalised, valid, CLIP)


@triton.jit
def _interpolate_kernel(
    table, x, y, inside, bins, per_channel, heights, widths, maps, height, width, down, across,
    CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Map each pixel by the four tiles around it, into `y`; then stretch the plane's range to 0..1."""
    plane = tl.program_id(0)
    image, source, target = places(table, plane // 3)
    equalised, alone = _is_equalised(per_channel, image, plane)
    if equalised:
        number = image * 3 + plane % 3
        tile_h = tl.load(heights + number).to(tl.int32)
        tile_w = tl.load(widths + number).to(tl.int32)
        x += (source * 3 + plane % 3) * height * width
        y += (target * 3 + plane % 3) * height * width
        inside += number * height * width
        start = plane.to(tl.int64) * height * width
        maps += plane.to(tl.int64) * down * across * _BINS
        least = tl.full([ROWS, COLUMNS], _GREYS, tl.float32)
        largest = tl.zeros([ROWS, COLUMNS], tl.float32)
        for first_column in range(0, width, COLUMNS):
            column = first_column + tl.arange(0, COLUMNS)[None, :]
            left, right, along = _neighbours(column, width, tile_w)
            for first_row in range(0, height, ROWS):
                row = first_row + tl.arange(0, ROWS)[:, None]
                above, below, down_ = _neighbours(row, height, tile_h)
                valid = (row < height) & (column < width)
                bin_ = tl.load(bins + start + row * width + column, mask=valid, other=0).to(tl.int32)
                upper = _row_of_tiles(maps, above * across, left, right, bin_, along)
                lower = _row_of_tiles(maps, below * across, left, right, bin_, along)
                grey = tl.floor(_lerp(upper, lower, down_))
                least = tl.minimum(least, tl.where(valid, grey, _GREYS))
                largest = tl.maximum(largest, tl.where(valid, grey, 0.0))
                tl.store(y + row * width + column, grey, mask=valid)

        tl.debug_barrier()
        low, high = tl.min(tl.min(least, 1), 0), tl.max(tl.max(largest, 1), 0)
        for offset in range(0, height * width, ROWS * COLUMNS):
            place = offset + tl.arange(0, ROWS * COLUMNS)
            valid = place < height * width
            greys = tl.load(y + place, mask=valid, other=0.0)
            _store(x, y, inside, place, height * width, valid, alone, _rescale(greys, low, high, 1.0), CLIP)


def _forward(part: Part) -> Saved:
    """Equalise each channel, or the value of HSV."""
    (height, width), smallest, device = part.size, eager._tile_sides(part.size)[0], part.y.device
    planes, tiles = 3 * part.slots, (launcher.cdiv(height, smallest), launcher.cdiv(width, smallest))
    bins = torch.empty((planes, height, width), dtype=torch.uint8, device=device)
    maps = torch.empty((planes, *tiles, eager._BINS), dtype=torch.int16, device=device)
    alone, *sides, limit = (part.params[name] for name in ("per_channel", "tile_height", "tile_width", "clip_limit"))
    table, sizes = part.table, (height, width, *tiles)
    launcher.launch(_levels_kernel, planes, table, part.x, alone, bins, height * width, BLOCK=BLOCK, num_warps=32)
    tiling = (table, bins, alone, *sides, limit, maps, *sizes)
    launcher.launch(_maps_kernel, planes * tiles[0] * tiles[1], *tiling, PIXELS=PIXELS, num_warps=1)
    images = (table, part.x, part.y, part.inside, bins, alone, *sides, maps, *sizes)
    launcher.launch(_interpolate_kernel, planes, *images, CLIP=part.clip, ROWS=ROWS, COLUMNS=COLUMNS, num_warps=16)
    return ()


clahe = Kernel(_forward)
"""Equalise each channel, or the value of HSV; no derivative."""
