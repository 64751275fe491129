"""Shrink wavelet details of images in two launches; `bart.transforms.denoising.wavelet` defines what they compute.

In the first launch one program takes one plane of one image, shifted by one of the offsets, and reconstructs it with the
filters of the image's own wavelet. If an image has no shifts, the programs of the other offsets end at once. The second launch
averages the shifts and converts back to RGB.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped
from bart.gpu_kernels.denoising.wavelet.filters import BANKS, CHUNK, tap_count
from bart.gpu_kernels.denoising.wavelet.levels import denoise_plane
from bart.transforms.denoising import wavelet as eager

BLOCK = 512
"""Pixels of a program of the second launch."""
SCHEDULE = {"num_warps": 16, "enable_fp_fusion": False}

_CHUNK = tl.constexpr(CHUNK)
_DB2, _SYM9 = tl.constexpr(eager.WAVELETS.index("db2")), tl.constexpr(eager.WAVELETS.index("sym9"))
_TO_YCBCR = tuple(map(tuple, eager._TO_YCBCR.tolist()))
_TO_RGB = tuple(map(tuple, np.linalg.inv(eager._TO_YCBCR).tolist()))


@triton.constexpr_function
def _matrix(back, i, j):
    """Return an entry of the colour matrix, or of its inverse."""
    return (_TO_RGB if back else _TO_YCBCR)[i][j]


@triton.jit
def _double(x, place, inside):
    """Load values as float64."""
    return tl.load(x + place, mask=inside, other=0).to(tl.float64)


@triton.jit
def _mixed(red, green, blue, BACK: tl.constexpr, ROW: tl.constexpr):
    """Return one row of the colour conversion."""
    return red * _matrix(BACK, ROW, 0) + green * _matrix(BACK, ROW, 1) + blue * _matrix(BACK, ROW, 2)


@triton.jit
def _plane_values(image, size, place, inside, plane, ycbcr):
    """Return the plane's values, float64, before they are stretched."""
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
    table, x, ycbcrs, wavelets, softs, shifts, exact, single, ranges, height, width, exact_size, single_size, row_size,
    levels_db1, levels_db2, levels_sym9,
):  # fmt: skip
    """Denoise one plane into its part of `single`, and store its range; program (offset, slot, plane)."""
    image = tl.program_id(0) // 3 % (tl.num_programs(0) // 12)
    offset = tl.program_id(0) // 3 // (tl.num_programs(0) // 12)
    plane = tl.program_id(0) % 3
    row, source, _ = places(table, image)
    if row < 0:
        return
    if (offset == 0) | (tl.load(shifts + row) > 0):
        size = height * width
        image_at = x + source * 3 * size
        ycbcr = tl.load(ycbcrs + row) != 0
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

        soft = (tl.load(softs + row) != 0).to(tl.float32)
        wavelet = tl.load(wavelets + row)
        details = stretched + size
        rows = pyramid + single_size - 2 * row_size
        taps = tl.where(wavelet == _SYM9, tap_count("sym9"), tl.where(wavelet == _DB2, tap_count("db2"), tap_count("db1")))
        levels = tl.where(wavelet == _SYM9, levels_sym9, tl.where(wavelet == _DB2, levels_db2, levels_db1))
        denoise_plane(stretched, details, pyramid, rows, rows + row_size, height, width, wavelet, taps, levels, soft)


@triton.jit
def _mean(planes, single_size, place, valid, line, column, height, width, shift):
    """Return the mean of a plane's shifts, each moved back."""
    total = tl.load(planes + place, mask=valid, other=0)
    if shift > 0:
        total *= 0.25
        for offset in tl.static_range(1, 4):
            y = tl.where(line + offset // 2 < height, line + offset // 2, 0)
            x = tl.where(column + offset % 2 < width, column + offset % 2, 0)
            total += 0.25 * tl.load(planes + offset * single_size + y * width + x, mask=valid, other=0)
    return total


@triton.jit
def _stretched_back(ranges, plane, values):
    """Invert the stretching of a plane."""
    return values.to(tl.float64) * tl.load(ranges + 2 * plane + 1) + tl.load(ranges + 2 * plane)


@triton.jit
def _image_kernel(
    table, single, ranges, ycbcrs, shifts, y, inside, height, width, single_size, CLIP: tl.constexpr, BLOCK: tl.constexpr
):
    """Average the shifts and convert to RGB; program (slot, block of pixels)."""
    size = height * width
    blocks = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    row, _, target = places(table, image)
    if row < 0:
        return
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    valid = place < size
    line, column = place // width, place % width
    shift = tl.load(shifts + row)
    planes = single + image * 12 * single_size
    red = _mean(planes, single_size, place, valid, line, column, height, width, shift)
    green = _mean(planes + 4 * single_size, single_size, place, valid, line, column, height, width, shift)
    blue = _mean(planes + 8 * single_size, single_size, place, valid, line, column, height, width, shift)
    if tl.load(ycbcrs + row) != 0:
        luma = _stretched_back(ranges + 6 * image, 0, red)
        chroma_b = _stretched_back(ranges + 6 * image, 1, green)
        chroma_r = _stretched_back(ranges + 6 * image, 2, blue)
        red = _mixed(luma, chroma_b, chroma_r, True, 0).to(tl.float32)
        green = _mixed(luma, chroma_b, chroma_r, True, 1).to(tl.float32)
        blue = _mixed(luma, chroma_b, chroma_r, True, 2).to(tl.float32)
    there, marked = target * 3 * size + place, row * 3 * size + place
    store_clipped(y, inside, there, marked, red, valid, CLIP)
    store_clipped(y, inside, there + size, marked + size, green, valid, CLIP)
    store_clipped(y, inside, there + 2 * size, marked + 2 * size, blue, valid, CLIP)


def _half(side: int, length: int) -> int:
    """Return the length of either band."""
    return (side + length - 1) // 2


def _pyramid(height: int, width: int, length: int, levels: int) -> int:
    """Return the number of entries of the bands of all levels."""
    total = 0
    for _ in range(levels):
        height, width = _half(height, length), _half(width, length)
        total += 4 * height * width
    return total


def _forward(part: Part) -> Saved:
    """Queue two launches."""
    n, (height, width), device = part.slots, part.size, part.y.device
    lengths = [len(eager.FILTERS[name]) for name in BANKS]
    levels = [eager._levels(min(height, width), length) for length in lengths]
    row_size = max(_half(height, length) for length in lengths) * width
    bands = max(_pyramid(height, width, length, count) for length, count in zip(lengths, levels, strict=True))
    exact_size, single_size = height * width + row_size, height * width + bands + 2 * row_size
    exact = torch.empty(n * 12, exact_size, dtype=torch.float64, device=device)
    single = torch.empty(n * 12, single_size, device=device)
    ranges = torch.empty(n, 3, 2, dtype=torch.float64, device=device)
    ycbcr, kind, soft, shift = (part.params[name] for name in ("ycbcr", "wavelet", "soft", "shift"))
    launcher.launch(
        _planes_kernel, n * 12, part.table, part.x, ycbcr, kind, soft, shift, exact, single, ranges, height, width,
        exact_size, single_size, row_size, *levels, **SCHEDULE,
    )  # fmt: skip
    programs = n * launcher.cdiv(height * width, BLOCK)
    arguments = (part.table, single, ranges, ycbcr, shift, part.y, part.inside, height, width, single_size)
    launcher.launch(_image_kernel, programs, *arguments, CLIP=part.clip, BLOCK=BLOCK)
    return ()


wavelet = Kernel(_forward)
"""The images with their wavelet details shrunk."""
