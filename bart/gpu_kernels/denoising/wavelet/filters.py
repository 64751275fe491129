"""Hold the filter banks as compile-time constants, and index arrays along rows and columns as the filters read them."""

import triton
import triton.language as tl

from bart.transforms.denoising import wavelet as eager

ROWS, COLUMNS = 8, 128
"""Rows and columns of a tile of the filters."""
CHUNK = 4096
"""Entries that a program takes at a time where it needs no neighbours."""
BANKS = ("db1", "db2", "sym9")

_ROWS, _COLUMNS = tl.constexpr(ROWS), tl.constexpr(COLUMNS)
_LOWS = {name: eager.FILTERS[name] for name in BANKS}
_HIGHS = {name: eager._high(eager.FILTERS[name]) for name in BANKS}


@triton.constexpr_function
def tap_count(bank):
    """Return the number of taps of a filter bank."""
    return len(_LOWS[bank])


@triton.constexpr_function
def low_tap(bank, k):
    """Return tap k of the low-pass filter."""
    return _LOWS[bank][k]


@triton.constexpr_function
def high_tap(bank, k):
    """Return tap k of the high-pass filter."""
    return _HIGHS[bank][k]


@triton.jit
def band_length(size, taps):
    """Return the length of either band of an axis of `size`, for filters of `taps` taps."""
    return (size + taps - 1) // 2


@triton.jit
def mirrored(i, size):
    """Return the index that `i` stands for where the ends are mirrored, their last entries included."""
    i = tl.where(i < 0, -1 - i, i)
    return tl.where(i >= size, 2 * size - 1 - i, i)


@triton.jit
def row_entry(row, column, k, width):
    """Return the place of the entry that tap k of a filter along a row reads.

    `max_contiguous` marks entries as neighbours for the compiler, so that it places a warp along the row in all its versions.
    It loads none of them together, as it does not know where they begin.
    """
    return tl.max_contiguous(row * width + mirrored(2 * column + 1 - k, width), [1, _COLUMNS])


@triton.jit
def tile_count(height, width):
    """Return the number of tiles of an array."""
    return tl.cdiv(height, _ROWS) * tl.cdiv(width, _COLUMNS)


@triton.jit
def tile_entries(tile, height, width):
    """Return the rows and columns of a tile of an array, and which of them exist."""
    across = tl.cdiv(width, _COLUMNS)
    row = tile // across * _ROWS + tl.arange(0, _ROWS)[:, None]
    column = tile % across * _COLUMNS + tl.arange(0, _COLUMNS)[None, :]
    return row, column, (row < height) & (column < width)
