"""Encode and decode JPEG in libjpeg's own integers: two launches forward, one backward, one byte per sample between.

1. `_blocks_kernel` codes two strips of blocks per program: luma one above the other, chroma blue and red at the same place.
   Each thread holds runs of 8 samples; between rows and columns the tile is transposed on the chip.
2. `_colour_kernel` restores the chroma's resolution and converts back to RGB, a run of pixels per program. It also records
   which channels the range limits did not change, for the backward pass.

The backward pass, `_gradient_kernel`, is the transpose of halving and restoring the chroma's resolution, as a gather: the four
pixels of a chroma sample collect from the 4 x 4 pixels that the sample reaches. All integers of libjpeg fit in 32 bits. The
eager code computes the same in floats, too short for a few sums of the DCT: in noise, a few of a million pixels differ.
"""

import torch
import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked
from bart.transforms import jpeg as eager

TILE_W = 32
"""Samples in a row of a tile of blocks: a program codes 2 x 8 x TILE_W, luma of 16 x TILE_W px or chroma of twice that."""
RUN = 512
"""Pixels per program of the conversion to RGB."""
TILE = (8, 32)
"""Chroma samples per program of the backward pass."""


def _units(rows: tuple[tuple[float, ...], ...]) -> tl.constexpr:
    """Return colour factors in units of 2^-16."""
    return tl.constexpr(tuple(tuple(round(factor * eager.ONE) for factor in row) for row in rows))


def _packed(table: tuple[float, ...]) -> tl.constexpr:
    """Return the rows of a quantisation table as 64-bit integers, a byte per column."""
    return tl.constexpr(tuple(sum(int(table[8 * row + column]) << 8 * column for column in range(8)) for row in range(8)))


_YCC, _RGB = _units(eager.YCC_FROM_RGB), _units(eager.RGB_FROM_YCC)
_LUMA, _CHROMA = _packed(eager.LUMA), _packed(eager.CHROMA)
_DCT = tl.constexpr(eager.DCT)


@triton.jit
def _level(x):
    """Return round(255 x), ties to even. The product is only compared: fused into a sum it would not be rounded."""
    value = x * 255
    down = tl.floor(value)
    half = down + 0.5
    level = down.to(tl.int32)
    return level + ((value > half) | ((value == half) & (level % 2 == 1))).to(tl.int32)


@triton.jit
def _mixed(planes, row, column, width, size, factor_0, factor_1, factor_2, half):
    """Return an integer combination of a pixel's levels, rounded by adding `half` before the fraction is removed."""
    there = planes + row * width + column
    red = _level(tl.load(there)) * factor_0
    green = _level(tl.load(there + size)) * factor_1
    blue = _level(tl.load(there + 2 * size)) * factor_2
    return (red + green + blue + half) >> 16


@triton.jit
def _split_eight(x):
    """Return the eight slices of the last axis, (a, b, c, 8)."""
    x = tl.reshape(x, [x.shape[0], x.shape[1], x.shape[2], 2, 2, 2])
    even, odd = tl.split(x)
    even_0, even_1 = tl.split(even)
    odd_0, odd_1 = tl.split(odd)
    x_0, x_4 = tl.split(even_0)
    x_2, x_6 = tl.split(even_1)
    x_1, x_5 = tl.split(odd_0)
    x_3, x_7 = tl.split(odd_1)
    return x_0, x_1, x_2, x_3, x_4, x_5, x_6, x_7


@triton.jit
def _join_eight(x):
    """Invert `_split_eight`."""
    even = tl.join(tl.join(x[0], x[4]), tl.join(x[2], x[6]))
    odd = tl.join(tl.join(x[1], x[5]), tl.join(x[3], x[7]))
    return tl.reshape(tl.join(even, odd), [x[0].shape[0], x[0].shape[1], x[0].shape[2], 8])


@triton.jit
def _frequency(a, b, c, d, FREQUENCY: tl.constexpr, SHIFT: tl.constexpr):
    """Return one coefficient of four sums, or differences, of mirrored samples."""
    total = a * _DCT[FREQUENCY][0] + b * _DCT[FREQUENCY][1] + c * _DCT[FREQUENCY][2] + d * _DCT[FREQUENCY][3]
    return (total + (1 << (SHIFT - 1))) >> SHIFT


@triton.jit
def _forward_dct(x, SHIFT: tl.constexpr):
    """Return the DCT of eight tensors of samples, in units of 2^(SHIFT - 13)."""
    a, b, c, d = x[0] + x[7], x[1] + x[6], x[2] + x[5], x[3] + x[4]
    p, q, r, s = x[0] - x[7], x[1] - x[6], x[2] - x[5], x[3] - x[4]
    return (
        _frequency(a, b, c, d, 0, SHIFT),
        _frequency(p, q, r, s, 1, SHIFT),
        _frequency(a, b, c, d, 2, SHIFT),
        _frequency(p, q, r, s, 3, SHIFT),
        _frequency(a, b, c, d, 4, SHIFT),
        _frequency(p, q, r, s, 5, SHIFT),
        _frequency(a, b, c, d, 6, SHIFT),
        _frequency(p, q, r, s, 7, SHIFT),
    )


@triton.jit
def _mirrored(x, SAMPLE: tl.constexpr, SHIFT: tl.constexpr):
    """Return a sample of the first four and its mirror image, from the eight coefficients."""
    even = x[0] * _DCT[0][SAMPLE] + x[2] * _DCT[2][SAMPLE] + x[4] * _DCT[4][SAMPLE] + x[6] * _DCT[6][SAMPLE]
    odd = x[1] * _DCT[1][SAMPLE] + x[3] * _DCT[3][SAMPLE] + x[5] * _DCT[5][SAMPLE] + x[7] * _DCT[7][SAMPLE]
    even += 1 << (SHIFT - 1)
    return (even + odd) >> SHIFT, (even - odd) >> SHIFT


@triton.jit
def _inverse_dct(x, SHIFT: tl.constexpr):
    """Return the transpose of `_forward_dct`."""
    x_0, x_7 = _mirrored(x, 0, SHIFT)
    x_1, x_6 = _mirrored(x, 1, SHIFT)
    x_2, x_5 = _mirrored(x, 2, SHIFT)
    x_3, x_4 = _mirrored(x, 3, SHIFT)
    return x_0, x_1, x_2, x_3, x_4, x_5, x_6, x_7


@triton.jit
def _rounded(coefficient, chroma, scale, ROW: tl.constexpr):
    """Round eight times a coefficient (a, b, column) to the nearest multiple of its step. A tie goes away from zero."""
    column = tl.arange(0, 8)[None, None, :]
    standard = ((tl.where(chroma, _CHROMA[ROW], _LUMA[ROW]) >> (8 * column)) & 255).to(tl.int32)
    step = tl.maximum((standard * scale + 50) // 100, 1)
    levels = (tl.abs(coefficient) + 4 * step) // (8 * step)
    return tl.where(coefficient < 0, -levels, levels) * step


@triton.jit
def _coded(samples, chroma, scale):
    """Return samples (2, 8, columns) -128..127 after the quantised DCT of their blocks and its inverse."""
    x = _join_eight(_forward_dct(_split_eight(tl.reshape(samples, [2, 8, samples.shape[2] // 8, 8])), 11))
    x = _forward_dct(_split_eight(tl.permute(x, (0, 2, 3, 1))), 15)
    x = (
        _rounded(x[0], chroma, scale, 0),
        _rounded(x[1], chroma, scale, 1),
        _rounded(x[2], chroma, scale, 2),
        _rounded(x[3], chroma, scale, 3),
        _rounded(x[4], chroma, scale, 4),
        _rounded(x[5], chroma, scale, 5),
        _rounded(x[6], chroma, scale, 6),
        _rounded(x[7], chroma, scale, 7),
    )
    x = tl.permute(_join_eight(_inverse_dct(x, 11)), (0, 3, 1, 2))
    x = tl.reshape(_join_eight(_inverse_dct(_split_eight(x), 18)), samples.shape)
    return tl.minimum(tl.maximum(x, -128), 127)


@triton.jit
def _blocks_kernel(table, x, qualities, coded, height, width, TILE_W: tl.constexpr):
    """Code one part; program (slot, area of 16 x 2 TILE_W px, part).

    Two parts are the luma's left and right half, one is the chroma.
    """
    size = height * width
    half_h, half_w = (height + 1) // 2, (width + 1) // 2
    across = tl.cdiv(width, 2 * TILE_W)
    areas = across * tl.cdiv(height, 16)
    part = tl.program_id(0) % 3
    area = tl.program_id(0) // 3 % areas
    slot = (tl.program_id(0) // (3 * areas)).to(tl.int64)
    image, from_, _ = places(table, slot)
    if image < 0:
        return
    chroma = part == 2
    strip = tl.arange(0, 2)[:, None, None]
    row = area // across * tl.where(chroma, 8, 16) + tl.where(chroma, 0, 8) * strip + tl.arange(0, 8)[None, :, None]
    column = tl.where(chroma, area % across, area % across * 2 + part) * TILE_W + tl.arange(0, TILE_W)[None, None, :]

    source = x + from_ * 3 * size
    if chroma:  # rows are repeated after halving, columns before
        top = 2 * tl.minimum(row, half_h - 1)
        bottom = tl.minimum(top + 1, height - 1)
        left = tl.minimum(2 * column, width - 1)
        right = tl.minimum(2 * column + 1, width - 1)
        red = tl.where(strip == 0, _YCC[1][0], _YCC[2][0])
        green = tl.where(strip == 0, _YCC[1][1], _YCC[2][1])
        blue = tl.where(strip == 0, _YCC[1][2], _YCC[2][2])
        samples = _mixed(source, top, left, width, size, red, green, blue, 32767)  # ties down, or blue is out of range
        samples += _mixed(source, top, right, width, size, red, green, blue, 32767)
        samples += _mixed(source, bottom, left, width, size, red, green, blue, 32767)
        samples += _mixed(source, bottom, right, width, size, red, green, blue, 32767)
        samples = (samples + 1 + column % 2) >> 2
    else:
        y, z = tl.minimum(row, height - 1), tl.minimum(column, width - 1)
        samples = _mixed(source, y, z, width, size, _YCC[0][0], _YCC[0][1], _YCC[0][2], 32768) - 128

    samples = _coded(samples, chroma, (200 - 2 * tl.load(qualities + image)).to(tl.int32))
    rows, columns = tl.where(chroma, half_h, height), tl.where(chroma, half_w, width)
    plane = tl.where(chroma, size + strip * half_h * half_w, 0)
    there = coded + slot * (size + 2 * half_h * half_w) + plane + row * columns + column
    tl.store(there, samples.to(tl.int8), mask=(row < rows) & (column < columns))


@triton.jit
def _neighbours(place, count):
    """Return the chroma sample that has weight 3/4 at a row or column, and the one that has 1/4."""
    near = place >> 1
    return near, tl.minimum(tl.maximum(near - 1 + 2 * (place & 1), 0), count - 1)


@triton.jit
def _restored(chroma, row, column, half_h, half_w, inside):
    """Restore a plane's resolution by libjpeg's "fancy upsampling"."""
    near_y, far_y = _neighbours(row, half_h)
    near_x, far_x = _neighbours(column, half_w)
    total = 9 * tl.load(chroma + near_y * half_w + near_x, mask=inside, other=0).to(tl.int32)
    total += 3 * tl.load(chroma + near_y * half_w + far_x, mask=inside, other=0).to(tl.int32)
    total += 3 * tl.load(chroma + far_y * half_w + near_x, mask=inside, other=0).to(tl.int32)
    total += tl.load(chroma + far_y * half_w + far_x, mask=inside, other=0).to(tl.int32)
    return (total + 8 - column % 2) >> 4


@triton.jit
def _colour_kernel(table, coded, y, inside, height, width, CLIP: tl.constexpr, RUN: tl.constexpr):
    """Convert back to RGB; program (slot, run of pixels).

    Each pixel's luma is replaced by a bit per channel that is not clipped.
    """
    size = height * width
    half_h, half_w = (height + 1) // 2, (width + 1) // 2
    runs = tl.cdiv(size, RUN)
    slot = (tl.program_id(0) // runs).to(tl.int64)
    image, _, target = places(table, slot)
    if image < 0:
        return
    place = tl.program_id(0) % runs * RUN + tl.arange(0, RUN)
    row, column = place // width, place % width
    valid = place < size
    planes = coded + slot * (size + 2 * half_h * half_w)
    luma = (tl.load(planes + place, mask=valid, other=0).to(tl.int32) + 128) * 65536 + 32768
    blueness = _restored(planes + size, row, column, half_h, half_w, valid)
    redness = _restored(planes + size + half_h * half_w, row, column, half_h, half_w, valid)
    bits = tl.zeros([RUN], tl.int32)
    for channel in tl.static_range(3):
        level = (luma + blueness * _RGB[channel][1] + redness * _RGB[channel][2]) >> 16
        clipped = tl.minimum(tl.maximum(level, 0), 255)
        bits += (level == clipped).to(tl.int32) << channel
        there, marked = (target * 3 + channel) * size + place, (image * 3 + channel) * size + place
        store_clipped(y, inside, there, marked, tl.div_rn(clipped.to(tl.float32), 255.0), valid, CLIP)
    tl.store(planes + place, bits.to(tl.int8), mask=valid)


@triton.jit
def _kept(gradient, bits, row, column, height, width):
    """Return the gradient of a pixel's three channels, zero where clipped and outside."""
    place = row * width + column
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    bit = tl.load(bits + place, mask=inside, other=0)
    red = tl.load(gradient + place, mask=(bit & 1) != 0, other=0.0)
    green = tl.load(gradient + height * width + place, mask=(bit & 2) != 0, other=0.0)
    blue = tl.load(gradient + 2 * height * width + place, mask=(bit & 4) != 0, other=0.0)
    return red, green, blue


@triton.jit
def _weight(place, sample, count):
    """Return the weight of a chroma sample in a row or column."""
    near, far = _neighbours(place, count)
    return 0.75 * (near == sample).to(tl.float32) + 0.25 * (far == sample).to(tl.float32)


@triton.jit
def _times(place, side):
    """Return how often a row or column counts in its chroma sample: twice if it is an odd last one."""
    return tl.where((place % 2 == 0) & (place == side - 1), 2.0, 1.0)


@triton.jit
def _gradient_kernel(
    table, gradient, coded, out, inside, height, width, CLIP: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    """Compute the gradient; program (slot, tile of chroma samples)."""
    size = height * width
    half_h, half_w = (height + 1) // 2, (width + 1) // 2
    across = tl.cdiv(half_w, TILE_W)
    tiles = across * tl.cdiv(half_h, TILE_H)
    slot = (tl.program_id(0) // tiles).to(tl.int64)
    image, _, _ = places(table, slot)
    if image < 0:
        return
    tile = tl.program_id(0) % tiles
    y = tile // across * TILE_H + tl.arange(0, TILE_H)[:, None]
    x = tile % across * TILE_W + tl.arange(0, TILE_W)[None, :]
    source = gradient + image * 3 * size
    bits = coded + slot * (size + 2 * half_h * half_w)

    blueness = tl.zeros([TILE_H, TILE_W], tl.float32)
    redness = tl.zeros([TILE_H, TILE_W], tl.float32)
    for dy in tl.static_range(-1, 3):
        for dx in tl.static_range(-1, 3):
            row, column = 2 * y + dy, 2 * x + dx
            red, green, blue = _kept(source, bits, row, column, height, width)
            weight = _weight(row, y, half_h) * _weight(column, x, half_w)
            blueness += weight * (green * _RGB[1][1] + blue * _RGB[2][1])
            redness += weight * (red * _RGB[0][2] + green * _RGB[1][2])
    blueness *= 0.25 / 65536
    redness *= 0.25 / 65536

    for dy in tl.static_range(2):
        for dx in tl.static_range(2):
            row, column = 2 * y + dy, 2 * x + dx
            red, green, blue = _kept(source, bits, row, column, height, width)
            luma = red + green + blue
            times = _times(row, height) * _times(column, width)
            valid = (row < height) & (column < width)
            for channel in tl.static_range(3):
                chroma = blueness * _YCC[1][channel] + redness * _YCC[2][channel]
                value = (luma * _YCC[0][channel] + times * chroma) * (1 / 65536)
                store_masked(out, inside, (image * 3 + channel) * size + row * width + column, value, valid, CLIP)


def _forward(part: Part) -> Saved:
    """Code and decode. Saves (c, -1) int8, whose first h w entries per slot are the bits of `_colour_kernel`."""
    height, width = part.size
    samples = height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)
    coded = torch.empty((part.slots, samples), dtype=torch.int8, device=part.y.device)
    areas = part.slots * launcher.cdiv(height, 16) * launcher.cdiv(width, 2 * TILE_W)
    quality = part.params["quality"]
    launcher.launch(_blocks_kernel, 3 * areas, part.table, part.x, quality, coded, height, width, TILE_W=TILE_W, num_warps=2)
    programs = part.slots * launcher.cdiv(height * width, RUN)
    results = (part.table, coded, part.y, part.inside, height, width)
    launcher.launch(_colour_kernel, programs, *results, CLIP=part.clip, RUN=RUN, num_warps=4)
    return (coded,)


def _backward(part: Part, saved: Saved) -> None:
    """Compute the gradient."""
    height, width = part.size
    programs = part.slots * launcher.cdiv((height + 1) // 2, TILE[0]) * launcher.cdiv((width + 1) // 2, TILE[1])
    arguments = (part.table, part.gradient, *saved, part.y, part.inside, height, width)
    launcher.launch(_gradient_kernel, programs, *arguments, CLIP=part.clip, TILE_H=TILE[0], TILE_W=TILE[1], num_warps=4)


jpeg = Kernel(_forward, _backward)
"""Return `bart.transforms.jpeg.apply(x, params)`."""
