"""Wavelet shrinkage as two Triton kernels; the eager twin in `bart.transforms.denoising.wavelet` defines what they compute.

In the first, one program takes one plane of one image, shifted by one of the offsets, from its range to its reconstruction,
with the filters of the image's own wavelet. Its arrays lie in scratch of its own, where barriers separate the one who writes
from the one who reads; where an image has no shifts the programs of the others end at once. The second averages the shifts
and goes back to RGB.

The details that the noise is read from are float64, each product and each sum rounded alone as in the twin: whether one
of them is exactly zero moves the median. So the first kernel is compiled without fused multiply-adds, and asks for them
by name where they do no harm.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.transforms.denoising import wavelet as eager

ROWS, COLUMNS, CHUNK = 8, 128, 4096
"""Tiles of the filters, and pieces of the passes that need no neighbours."""
BLOCK = 512
SCHEDULE = {"num_warps": 16, "enable_fp_fusion": False}

_ROWS, _COLUMNS, _CHUNK = tl.constexpr(ROWS), tl.constexpr(COLUMNS), tl.constexpr(CHUNK)
_QUARTILE, _LEAST = tl.constexpr(eager._QUARTILE), tl.constexpr(eager._LEAST)
_BANKS = ("db1", "db2", "sym9")
_DB2, _SYM9 = tl.constexpr(eager.WAVELETS.index("db2")), tl.constexpr(eager.WAVELETS.index("sym9"))
_MAGNITUDE, _TWO = tl.constexpr(0x7FFFFFFF), tl.constexpr(0x40000000)
"""The bits of a float32 without its sign, and those of 2.0."""


_LOWS = {name: eager.FILTERS[name] for name in _BANKS}
_HIGHS = {name: eager._high(eager.FILTERS[name]) for name in _BANKS}
_TO_YCBCR = tuple(map(tuple, eager._TO_YCBCR.tolist()))
_TO_RGB = tuple(map(tuple, np.linalg.inv(eager._TO_YCBCR).tolist()))


@triton.constexpr_function
def _taps(bank):
    return len(_LOWS[bank])


@triton.constexpr_function
def _low_tap(bank, k):
    return _LOWS[bank][k]


@triton.constexpr_function
def high_tap(bank, k):
    return _HIGHS[bank][k]


@triton.constexpr_function
def _matrix(back, i, j):
    return (_TO_RGB if back else _TO_YCBCR)[i][j]


@triton.jit
def half(size, taps):
    """The length of either band of an axis of `size`, with filters of so many `taps`."""
    return (size + taps - 1) // 2


@triton.jit
def mirrored(i, size):
    """The index that `i` stands for where the ends are mirrored with their last entries."""
    i = tl.where(i < 0, -1 - i, i)
    return tl.where(i >= size, 2 * size - 1 - i, i)


@triton.jit
def seen(row, column, k, width):
    """Where the entry lies that tap k of a filter along a row sees. The compiler is told that they are neighbours, for it
    to lay a warp along the row in all its versions; it loads none of them together, as it cannot know where they begin."""
    return tl.max_contiguous(row * width + mirrored(2 * column + 1 - k, width), [1, _COLUMNS])


@triton.jit
def tiles(height, width):
    return tl.cdiv(height, _ROWS) * tl.cdiv(width, _COLUMNS)


@triton.jit
def entries(tile, height, width):
    """The rows and columns of a tile of an array, and which of them exist."""
    across = tl.cdiv(width, _COLUMNS)
    row = tile // across * _ROWS + tl.arange(0, _ROWS)[:, None]
    column = tile % across * _COLUMNS + tl.arange(0, _COLUMNS)[None, :]
    return row, column, (row < height) & (column < width)


@triton.jit
def _magnitudes(values, start, count):
    """The bits of some magnitudes, which are in the order of the numbers; infinity beyond the last."""
    place = start + tl.arange(0, _CHUNK)
    value = tl.load(values + place, mask=place < count, other=float("inf"))
    return value.to(tl.int32, bitcast=True) & _MAGNITUDE


@triton.jit
def noise(values, count):
    """The median of those magnitudes of `values` (count,) float32 that are not zero over .6745, float64; 0 of none."""
    zero = tl.zeros([_CHUNK], tl.int32)
    below_1 = tl.zeros([_CHUNK], tl.int32)
    for start in range(0, count, _CHUNK):
        bits = _magnitudes(values, start, count)
        zero += (bits == 0).to(tl.int32)
        below_1 += (bits < _TWO).to(tl.int32)
    zeros = tl.sum(zero)
    others = count - zeros
    rank = tl.where(others > 0, zeros + (others - 1) // 2, 0)
    lower = tl.where(tl.sum(below_1) <= rank, _TWO, 0)
    for digit in range(15):  # two bits at a time: three comparisons a load
        step = 1 << (28 - 2 * digit)
        below_1 = tl.zeros([_CHUNK], tl.int32)
        below_2 = tl.zeros([_CHUNK], tl.int32)
        below_3 = tl.zeros([_CHUNK], tl.int32)
        for start in range(0, count, _CHUNK):
            bits = _magnitudes(values, start, count) - lower
            below_1 += (bits < step).to(tl.int32)
            below_2 += (bits < 2 * step).to(tl.int32)
            below_3 += (bits < 3 * step).to(tl.int32)
        passed = (tl.sum(below_1) <= rank).to(tl.int32) + (tl.sum(below_2) <= rank).to(tl.int32)
        lower += step * (passed + (tl.sum(below_3) <= rank).to(tl.int32))

    reached = tl.zeros([_CHUNK], tl.int32)
    beyond = tl.full([_CHUNK], _MAGNITUDE, tl.int32)
    for start in range(0, count, _CHUNK):
        bits = _magnitudes(values, start, count)
        reached += (bits <= lower).to(tl.int32)
        beyond = tl.minimum(beyond, tl.where(bits > lower, bits, _MAGNITUDE))
    upper = tl.where(tl.sum(reached) > tl.minimum(zeros + others // 2, count - 1), lower, tl.min(beyond))
    both = lower.to(tl.float32, bitcast=True).to(tl.float64) + upper.to(tl.float32, bitcast=True).to(tl.float64)
    return both / (2 * _QUARTILE)


@triton.jit
def _add(total, value, TAP: tl.constexpr):
    """total + value * TAP: in float32 at once, in float64 with both rounded."""
    if total.dtype == tl.float64:
        return total + value.to(tl.float64) * TAP
    return tl.fma(value.to(tl.float32), tl.full(value.shape, TAP, tl.float32), total)


@triton.jit
def _split_columns(source, low, high, height, width, BANK: tl.constexpr):
    """Approximation and details of `source` (height, width) float64 along its columns, float32 and float64."""
    count = half(height, _taps(BANK))
    for tile in range(tiles(count, width)):
        row, column, valid = entries(tile, count, width)
        sum_l = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_h = tl.zeros([_ROWS, _COLUMNS], tl.float64)
        for k in tl.static_range(_taps(BANK)):
            value = tl.load(source + mirrored(2 * row + 1 - k, height) * width + column, mask=valid, other=0)
            sum_l = _add(sum_l, value, _low_tap(BANK, k))
            sum_h = _add(sum_h, value, high_tap(BANK, k))
        tl.store(low + row * width + column, sum_l, mask=valid)
        tl.store(high + row * width + column, sum_h, mask=valid)


@triton.jit
def _split_rows(low, high, bands, plane, height, width, BANK: tl.constexpr):
    """The four `bands` (4, height, count) of `low` and `high` (height, width), the first also to `plane`.

    Gives the mean squares of the other three.
    """
    count = half(width, _taps(BANK))
    size = height * count
    squares_1 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    squares_2 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    squares_3 = tl.zeros([_ROWS, _COLUMNS], tl.float32)
    for tile in range(tiles(height, count)):
        row, column, valid = entries(tile, height, count)
        sum_ll = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_hl = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_lh = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        sum_hh = tl.zeros([_ROWS, _COLUMNS], tl.float64)
        for k in tl.static_range(_taps(BANK)):
            there = seen(row, column, k, width)
            value_l = tl.load(low + there, mask=valid, other=0)
            value_h = tl.load(high + there, mask=valid, other=0)
            sum_ll = _add(sum_ll, value_l, _low_tap(BANK, k))
            sum_hl = _add(sum_hl, value_h, _low_tap(BANK, k))
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
    threshold = (variance / tl.sqrt(tl.maximum(square.to(tl.float64) - variance, _LEAST))).to(tl.float32)
    value = tl.load(band + place, mask=inside, other=0)
    nearer = tl.where(value < 0, value + threshold * soft, value - threshold * soft)
    tl.store(band + place, tl.where(tl.abs(value) < threshold, 0.0, nearer), mask=inside)


@triton.jit
def _shrink(bands, size, variance, square_1, square_2, square_3, soft):
    """The last three of `bands` (4, size) shrunk in place."""
    for start in range(0, size, _CHUNK):
        place = start + tl.arange(0, _CHUNK)
        inside = place < size
        _shrink_band(bands + size, place, inside, variance, square_1, soft)
        _shrink_band(bands + 2 * size, place, inside, variance, square_2, soft)
        _shrink_band(bands + 3 * size, place, inside, variance, square_3, soft)


@triton.jit
def _join_rows(bands, low, high, height, width, BANK: tl.constexpr):
    """The inverse of `_split_rows`; two columns at a time."""
    TAPS: tl.constexpr = _taps(BANK)
    count = half(width, _taps(BANK))
    size = height * count
    pairs = (width + 1) // 2
    for tile in range(tiles(height, pairs)):
        row, column, valid = entries(tile, height, pairs)
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
            even_l = _add(_add(even_l, value_ll, _low_tap(BANK, TAPS - 1 - 2 * k)), value_lh, high_tap(BANK, TAPS - 1 - 2 * k))
            odd_l = _add(_add(odd_l, value_ll, _low_tap(BANK, TAPS - 2 - 2 * k)), value_lh, high_tap(BANK, TAPS - 2 - 2 * k))
            even_h = _add(_add(even_h, value_hl, _low_tap(BANK, TAPS - 1 - 2 * k)), value_hh, high_tap(BANK, TAPS - 1 - 2 * k))
            odd_h = _add(_add(odd_h, value_hl, _low_tap(BANK, TAPS - 2 - 2 * k)), value_hh, high_tap(BANK, TAPS - 2 - 2 * k))
        here = row * width + 2 * column
        second = valid & (2 * column + 1 < width)
        tl.store(low + here, even_l, mask=valid)
        tl.store(low + here + 1, odd_l, mask=second)
        tl.store(high + here, even_h, mask=valid)
        tl.store(high + here + 1, odd_h, mask=second)


@triton.jit
def _join_columns(low, high, target, height, width, BANK: tl.constexpr):
    """The inverse of `_split_columns`; two rows at a time."""
    TAPS: tl.constexpr = _taps(BANK)
    pairs = (height + 1) // 2
    for tile in range(tiles(pairs, width)):
        row, column, valid = entries(tile, pairs, width)
        even = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        odd = tl.zeros([_ROWS, _COLUMNS], tl.float32)
        for k in tl.static_range(TAPS // 2):
            there = (row + (TAPS // 2 - 1 - k)) * width + column
            value_l = tl.load(low + there, mask=valid, other=0)
            value_h = tl.load(high + there, mask=valid, other=0)
            even = _add(_add(even, value_l, _low_tap(BANK, TAPS - 1 - 2 * k)), value_h, high_tap(BANK, TAPS - 1 - 2 * k))
            odd = _add(_add(odd, value_l, _low_tap(BANK, TAPS - 2 - 2 * k)), value_h, high_tap(BANK, TAPS - 2 - 2 * k))
        here = target + 2 * row * width + column
        tl.store(here, even, mask=valid)
        tl.store(here + width, odd, mask=valid & (2 * row + 1 < height))


@triton.jit
def _split_with(plane, low, details, bands, height, width, BANK: tl.constexpr):
    _split_columns(plane, low, details, height, width, BANK)
    tl.debug_barrier()
    squares = _split_rows(low, details, bands, plane, half(height, _taps(BANK)), width, BANK)
    tl.debug_barrier()
    return squares


@triton.jit
def _split(plane, low, details, bands, height, width, wavelet):
    """One level: the four `bands` of `plane` (height, width), the first of them also in its place; as `_split_rows`."""
    if wavelet == _SYM9:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "sym9")
    elif wavelet == _DB2:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "db2")
    else:
        square_1, square_2, square_3 = _split_with(plane, low, details, bands, height, width, "db1")
    return square_1, square_2, square_3


@triton.jit
def _join_with(bands, low, high, target, height, width, BANK: tl.constexpr):
    _join_rows(bands, low, high, half(height, _taps(BANK)), width, BANK)
    tl.debug_barrier()
    _join_columns(low, high, target, height, width, BANK)
    tl.debug_barrier()


@triton.jit
def _join(bands, low, high, target, height, width, wavelet):
    """The inverse of `_split`: `target` (height, width) from its bands."""
    if wavelet == _SYM9:
        _join_with(bands, low, high, target, height, width, "sym9")
    elif wavelet == _DB2:
        _join_with(bands, low, high, target, height, width, "db2")
    else:
        _join_with(bands, low, high, target, height, width, "db1")


@triton.jit
def _denoise(plane, details, pyramid, low, high, height, width, wavelet, taps, levels, soft):
    """`plane` (height, width) float64 denoised to the beginning of `pyramid`, which holds the bands of each level behind it.

    `plane` makes room for each level's approximation. `details` float64, `low` and `high` hold what is filtered along one
    axis.
    """
    variance = tl.zeros([], tl.float64)
    rows, columns, bands = height, width, pyramid + height * width
    for level in range(levels):
        square_1, square_2, square_3 = _split(plane, low, details, bands, rows, columns, wavelet)
        rows, columns = half(rows, taps), half(columns, taps)
        size = rows * columns
        if level == 0:
            deviation = noise(bands + 3 * size, size)
            variance = deviation * deviation
            tl.debug_barrier()  # from here on the details are no longer those that the noise is read from
        _shrink(bands, size, variance, square_1, square_2, square_3, soft)
        bands += 4 * size
    tl.debug_barrier()
    for done in range(levels):  # each level's approximation takes the place of the one in the bands above it
        rows, columns, target, bands = height, width, pyramid, pyramid + height * width
        for _ in range(levels - 1 - done):
            rows, columns, target = half(rows, taps), half(columns, taps), bands
            bands += 4 * rows * columns
        _join(bands, low, high, target, rows, columns, wavelet)


@triton.jit
def _double(x, place, inside):
    return tl.load(x + place, mask=inside, other=0).to(tl.float64)


@triton.jit
def _mixed(red, green, blue, BACK: tl.constexpr, ROW: tl.constexpr):
    return red * _matrix(BACK, ROW, 0) + green * _matrix(BACK, ROW, 1) + blue * _matrix(BACK, ROW, 2)


@triton.jit
def _plane_values(image, size, place, inside, plane, ycbcr):
    """The plane's values, float64, before they are stretched."""
    if ycbcr:
        red = _double(image, place, inside)
        green = _double(image + size, place, inside)
        blue = _double(image + 2 * size, place, inside)
        values = _mixed(red, green, blue, False, 0)
        values = tl.where(plane == 1, _mixed(red, green, blue, False, 1), values)
        values = tl.where(plane == 2, _mixed(red, green, blue, False, 2), values)
    else:
        values = _double(image + plane * size, place, inside)
    return values


@triton.jit
def _planes_kernel(
    x, ycbcrs, wavelets, softs, shifts, exact, single, ranges, height, width, exact_size, single_size, row_size, levels_db1,
    levels_db2, levels_sym9,
):  # fmt: skip
    """Program (offset, image, plane): leaves its plane denoised in its part of `single`, and the plane's range."""
    image = tl.program_id(0) // 3 % (tl.num_programs(0) // 12)
    offset = tl.program_id(0) // 3 // (tl.num_programs(0) // 12)
    plane = tl.program_id(0) % 3
    if (offset == 0) | (tl.load(shifts + image) > 0):
        size = height * width
        image_at = x + image.to(tl.int64) * 3 * size
        ycbcr = tl.load(ycbcrs + image) != 0
        slot = ((image * 3 + plane) * 4 + offset).to(tl.int64)
        stretched = exact + slot * exact_size
        pyramid = single + slot * single_size

        low = tl.zeros([], tl.float64)
        span = low + 1
        if ycbcr:
            least = tl.full([_CHUNK], float("inf"), tl.float64)
            most = tl.full([_CHUNK], float("-inf"), tl.float64)
            for start in range(0, size, _CHUNK):
                place = start + tl.arange(0, _CHUNK)
                values = _plane_values(image_at, size, place, place < size, plane, ycbcr)
                least = tl.minimum(least, tl.where(place < size, values, float("inf")))
                most = tl.maximum(most, tl.where(place < size, values, float("-inf")))
            low = tl.min(least)
            span = tl.max(most) - low
        tl.store(ranges + (image * 3 + plane) * 2, low, mask=offset == 0)
        tl.store(ranges + (image * 3 + plane) * 2 + 1, span, mask=offset == 0)

        divisor = tl.where(span == 0, 1.0, span)
        for start in range(0, size, _CHUNK):
            place = start + tl.arange(0, _CHUNK)
            y = place // width - offset // 2
            column = place % width - offset % 2
            there = tl.where(y < 0, y + height, y) * width + tl.where(column < 0, column + width, column)
            values = _plane_values(image_at, size, there, place < size, plane, ycbcr)
            tl.store(stretched + place, (values - low) / divisor, mask=place < size)
        tl.debug_barrier()

        soft = (tl.load(softs + image) != 0).to(tl.float32)
        wavelet = tl.load(wavelets + image)
        details = stretched + size
        rows = pyramid + single_size - 2 * row_size
        taps = tl.where(wavelet == _SYM9, _taps("sym9"), tl.where(wavelet == _DB2, _taps("db2"), _taps("db1")))
        levels = tl.where(wavelet == _SYM9, levels_sym9, tl.where(wavelet == _DB2, levels_db2, levels_db1))
        _denoise(stretched, details, pyramid, rows, rows + row_size, height, width, wavelet, taps, levels, soft)


@triton.jit
def _mean(planes, single_size, place, inside, y, x, height, width, shift):
    """The mean of a plane's shifts, each moved back."""
    total = tl.load(planes + place, mask=inside, other=0)
    if shift > 0:
        total *= 0.25
        for offset in tl.static_range(1, 4):
            row = tl.where(y + offset // 2 < height, y + offset // 2, 0)
            column = tl.where(x + offset % 2 < width, x + offset % 2, 0)
            total += 0.25 * tl.load(planes + offset * single_size + row * width + column, mask=inside, other=0)
    return total


@triton.jit
def _stretched_back(ranges, plane, values):
    return values.to(tl.float64) * tl.load(ranges + 2 * plane + 1) + tl.load(ranges + 2 * plane)


@triton.jit
def _image_kernel(single, ranges, ycbcrs, shifts, out, height, width, single_size, BLOCK: tl.constexpr):
    """Program (image, block of pixels): the mean over the shifts, in RGB."""
    size = height * width
    blocks = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    y, x = place // width, place % width
    shift = tl.load(shifts + image)
    planes = single + image * 12 * single_size
    red = _mean(planes, single_size, place, inside, y, x, height, width, shift)
    green = _mean(planes + 4 * single_size, single_size, place, inside, y, x, height, width, shift)
    blue = _mean(planes + 8 * single_size, single_size, place, inside, y, x, height, width, shift)
    if tl.load(ycbcrs + image) != 0:
        luma = _stretched_back(ranges + 6 * image, 0, red)
        chroma_b = _stretched_back(ranges + 6 * image, 1, green)
        chroma_r = _stretched_back(ranges + 6 * image, 2, blue)
        red = _mixed(luma, chroma_b, chroma_r, True, 0).to(tl.float32)
        green = _mixed(luma, chroma_b, chroma_r, True, 1).to(tl.float32)
        blue = _mixed(luma, chroma_b, chroma_r, True, 2).to(tl.float32)
    here = out + image * 3 * size + place
    tl.store(here, red, mask=inside)
    tl.store(here + size, green, mask=inside)
    tl.store(here + 2 * size, blue, mask=inside)


def _half(side: int, length: int) -> int:
    return (side + length - 1) // 2


def _pyramid(height: int, width: int, length: int, levels: int) -> int:
    """How many entries the bands of all levels have."""
    total = 0
    for _ in range(levels):
        height, width = _half(height, length), _half(width, length)
        total += 4 * height * width
    return total


def wavelet(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """The images (n, 3, h, w) with their wavelet details shrunk; two launches."""
    n, _, height, width = x.shape
    lengths = [len(eager.FILTERS[name]) for name in _BANKS]
    levels = [eager._levels(min(height, width), length) for length in lengths]
    row_size = max(_half(height, length) for length in lengths) * width
    bands = max(_pyramid(height, width, length, count) for length, count in zip(lengths, levels, strict=True))
    exact_size, single_size = height * width + row_size, height * width + bands + 2 * row_size
    exact = torch.empty(n * 12, exact_size, dtype=torch.float64, device=x.device)
    single = torch.empty(n * 12, single_size, dtype=torch.float32, device=x.device)
    ranges = torch.empty(n, 3, 2, dtype=torch.float64, device=x.device)
    out = torch.empty_like(x, requires_grad=False)
    ycbcr, shift = params["ycbcr"], params["shift"]
    launcher.launch(
        _planes_kernel, n * 12, x, ycbcr, params["wavelet"], params["soft"], shift, exact, single, ranges, height, width,
        exact_size, single_size, row_size, *levels, **SCHEDULE,
    )  # fmt: skip
    programs = n * triton.cdiv(height * width, BLOCK)
    launcher.launch(_image_kernel, programs, single, ranges, ycbcr, shift, out, height, width, single_size, BLOCK=BLOCK)
    return out
