"""Decompose a plane level by level, shrink its details, and reconstruct it.

The details from which the noise is estimated are float64, and each product and each sum is rounded alone, as in the eager code:
whether one of them is exactly zero moves the median. So this code is compiled without fused multiply-adds, and asks for them by
name where they do no harm. Arrays are scratch memory of the program; barriers separate writing from reading.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.denoising.wavelet.filters import (
    CHUNK,
    COLUMNS,
    ROWS,
    band_length,
    high_tap,
    low_tap,
    mirrored,
    row_entry,
    tap_count,
    tile_count,
    tile_entries,
)
from bart.gpu_kernels.denoising.wavelet.noise import noise
from bart.transforms.denoising import wavelet as eager

_ROWS, _COLUMNS, _CHUNK = tl.constexpr(ROWS), tl.constexpr(COLUMNS), tl.constexpr(CHUNK)
_LEAST = tl.constexpr(eager._LEAST)
_DB2, _SYM9 = tl.constexpr(eager.WAVELETS.index("db2")), tl.constexpr(eager.WAVELETS.index("sym9"))


@triton.jit
def _add(total, value, TAP: tl.constexpr):
    """Return total + value * TAP: fused in float32; in float64 with both rounded."""
    if total.dtype == tl.float64:
        return total + value.to(tl.float64) * TAP
    return tl.fma(value.to(tl.float32), tl.full(value.shape, TAP, tl.float32), total)


@triton.jit
def _split_columns(source, low, high, height, width, BANK: tl.constexpr):
    """Store approximation and details of `source` (height, width) float64 along its columns, float32 and float64."""
    count = band_length(height, tap_count(BANK))
    for tile in range(tile_count(count, width)):
        row, column, valid = tile_entries(tile, count, width)
        sum_l = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_h = tl.zeros([_ROWS, _COLUMNS], tl.float64)
        for k in tl.static_range(tap_count(BANK)):
            value = tl.load(source + mirrored(2 * row + 1 - k, height) * width + column, mask=valid, other=0)
            sum_l = _add(sum_l, value, low_tap(BANK, k))
            sum_h = _add(sum_h, value, high_tap(BANK, k))
        tl.store(low + row * width + column, sum_l, mask=valid)
        tl.store(high + row * width + column, sum_h, mask=valid)


@triton.jit
def _split_rows(low, high, bands, plane, height, width, BANK: tl.constexpr):
    """Store the four `bands` (4, height, count) of `low` and `high` (height, width), the first also in `plane`.

    Returns the mean squares of the other three.
    """
    count = band_length(width, tap_count(BANK))
    size = height * count
    squares_1 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    squares_2 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    squares_3 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    for tile in range(tile_count(height, count)):
        row, column, valid = tile_entries(tile, height, count)
        sum_ll = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_hl = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_lh = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_hh = tl.zeros([_ROWS, _COLUMNS], tl.float64)
        for k in tl.static_range(tap_count(BANK)):
            there = row_entry(row, column, k, width)
            value_l = tl.load(low + there, mask=valid, other=0)
            value_h = tl.load(high + there, mask=valid, other=0)
            sum_ll = _add(sum_ll, value_l, low_tap(BANK, k))
            sum_hl = _add(sum_hl, value_h, low_tap(BANK, k))
            sum_lh = _add(sum_lh, value_l, high_tap(BANK, k))
            sum_hh = _add(sum_hh, value_h, high_tap(BANK, k))
        here = row * count + column
        details = sum_hh.to(tl.float32)
        tl.store(plane + here, sum_ll.to(tl.float64), mask=valid)
        tl.store(bands + here, sum_ll, mask=valid)
        tl.store(bands + size + here, sum_hl, mask=valid)
        tl.store(bands + 2 * size + here, sum_lh, mask=valid)
        tl.store(bands + 3 * size + here, details, mask=valid)
        squares_1 += sum_hl * sum_hl
        squares_2 += sum_lh * sum_lh
        squares_3 += details * details
    return tl.sum(squares_1) / size, tl.sum(squares_2) / size, tl.sum(squares_3) / size


@triton.jit
def _shrink_band(band, place, inside, variance, square, soft):
    """Shrink a chunk of a band in place."""
    threshold = (variance / tl.sqrt(tl.maximum(square.to(tl.float64) - variance, _LEAST))).to(tl.float32)
    value = tl.load(band + place, mask=inside, other=0)
    nearer = tl.where(value < 0, value + threshold * soft, value - threshold * soft)
    tl.store(band + place, tl.where(tl.abs(value) < threshold, 0.0, nearer), mask=inside)


@triton.jit
def _shrink(bands, size, variance, square_1, square_2, square_3, soft):
    """Shrink the last three of `bands` (4, size) in place."""
    for start in range(0, size, _CHUNK):
        place = start + tl.arange(0, _CHUNK)
        inside = place < size
        _shrink_band(bands + size, place, inside, variance, square_1, soft)
        _shrink_band(bands + 2 * size, place, inside, variance, square_2, soft)
        _shrink_band(bands + 3 * size, place, inside, variance, square_3, soft)


@triton.jit
def _join_rows(bands, low, high, height, width, BANK: tl.constexpr):
    """Invert `_split_rows`, two columns at a time."""
    TAPS: tl.constexpr = tap_count(BANK)
    count = band_length(width, tap_count(BANK))
    size = height * count
    pairs = (width + 1) // 2
    for tile in range(tile_count(height, pairs)):
        row, column, valid = tile_entries(tile, height, pairs)
        even_l = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        odd_l = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        even_h = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        odd_h = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        for k in tl.static_range(TAPS // 2):
            there = bands + row * count + column + (TAPS // 2 - 1 - k)
            value_ll = tl.load(there, mask=valid, other=0)
            value_hl = tl.load(there + size, mask=valid, other=0)
            value_lh = tl.load(there + 2 * size, mask=valid, other=0)
            value_hh = tl.load(there + 3 * size, mask=valid, other=0)
            even_l = _add(_add(even_l, value_ll, low_tap(BANK, TAPS - 1 - 2 * k)), value_lh, high_tap(BANK, TAPS - 1 - 2 * k))
            odd_l = _add(_add(odd_l, value_ll, low_tap(BANK, TAPS - 2 - 2 * k)), value_lh, high_tap(BANK, TAPS - 2 - 2 * k))
            even_h = _add(_add(even_h, value_hl, low_tap(BANK, TAPS - 1 - 2 * k)), value_hh, high_tap(BANK, TAPS - 1 - 2 * k))
            odd_h = _add(_add(odd_h, value_hl, low_tap(BANK, TAPS - 2 - 2 * k)), value_hh, high_tap(BANK, TAPS - 2 - 2 * k))
        here = row * width + 2 * column
        second = valid & (2 * column + 1 < width)
        tl.store(low + here, even_l, mask=valid)
        tl.store(low + here + 1, odd_l, mask=second)
        tl.store(high + here, even_h, mask=valid)
        tl.store(high + here + 1, odd_h, mask=second)


@triton.jit
def _join_columns(low, high, target, height, width, BANK: tl.constexpr):
    """Invert `_split_columns`, two rows at a time."""
    TAPS: tl.constexpr = tap_count(BANK)
    pairs = (height + 1) // 2
    for tile in range(tile_count(pairs, width)):
        row, column, valid = tile_entries(tile, pairs, width)
        even = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        odd = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        for k in tl.static_range(TAPS // 2):
            there = (row + (TAPS // 2 - 1 - k)) * width + column
            value_l = tl.load(low + there, mask=valid, other=0)
            value_h = tl.load(high + there, mask=valid, other=0)
            even = _add(_add(even, value_l, low_tap(BANK, TAPS - 1 - 2 * k)), value_h, high_tap(BANK, TAPS - 1 - 2 * k))
            odd = _add(_add(odd, value_l, low_tap(BANK, TAPS - 2 - 2 * k)), value_h, high_tap(BANK, TAPS - 2 - 2 * k))
        here = target + 2 * row * width + column
        tl.store(here, even, mask=valid)
        tl.store(here + width, odd, mask=valid & (2 * row + 1 < height))


@triton.jit
def _split_with(plane, low, details, bands, height, width, BANK: tl.constexpr):
    """Decompose one level with one filter bank."""
    _split_columns(plane, low, details, height, width, BANK)
    tl.debug_barrier()
    squares = _split_rows(low, details, bands, plane, band_length(height, tap_count(BANK)), width, BANK)
    tl.debug_barrier()
    return squares


@triton.jit
def _split(plane, low, details, bands, height, width, wavelet):
    """Decompose one level: store the four `bands` of `plane` (height, width), the first also in `plane`.

    Returns as `_split_rows`.
    """
    if wavelet == _SYM9:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "sym9")
    elif wavelet == _DB2:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "db2")
    else:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "db1")
    return square_1, square_2, square_3


@triton.jit
def _join_with(bands, low, high, target, height, width, BANK: tl.constexpr):
    """Reconstruct one level with one filter bank."""
    _join_rows(bands, low, high, band_length(height, tap_count(BANK)), width, BANK)
    tl.debug_barrier()
    _join_columns(low, high, target, height, width, BANK)
    tl.debug_barrier()


@triton.jit
def _join(bands, low, high, target, height, width, wavelet):
    """Invert `_split`: reconstruct `target` (height, width) from its bands."""
    if wavelet == _SYM9:
        _join_with(bands, low, high, target, height, width, "sym9")
    elif wavelet == _DB2:
        _join_with(bands, low, high, target, height, width, "db2")
    else:
        _join_with(bands, low, high, target, height, width, "db1")


@triton.jit
def denoise_plane(plane, details, pyramid, low, high, height, width, wavelet, taps, levels, soft):
    """Denoise `plane` (height, width) float64 to the beginning of `pyramid`, which holds the bands of each level behind it.

    `plane` is overwritten by each level's approximation. `details` float64, `low` and `high` hold what is filtered along one
    axis.
    """
    variance = tl.zeros([], tl.float64)
    rows, columns, bands = height, width, pyramid + height * width
    for level in range(levels):
        square_1, square_2, square_3 = _split(plane, low, details, bands, rows, columns, wavelet)
        rows, columns = band_length(rows, taps), band_length(columns, taps)
        size = rows * columns
        if level == 0:
            deviation = noise(bands + 3 * size, size)
            variance = deviation * deviation
            tl.debug_barrier()  # the noise must be read before the details are overwritten
        _shrink(bands, size, variance, square_1, square_2, square_3, soft)
        bands += 4 * size
    tl.debug_barrier()
    for done in range(levels):  # each level's result replaces the approximation of the level above
        rows, columns, target, bands = height, width, pyramid, pyramid + height * width
        for _ in range(levels - 1 - done):
            rows, columns, target = band_length(rows, taps), band_length(columns, taps), bands
            bands += 4 * rows * columns
        _join(bands, low, high, target, rows, columns, wavelet)
