"""Filter the spectra of small images in one launch: a program keeps a plane, its spectrum and the matrices of the transform.

The article's recipe as it stands: the full spectrum, by products with the matrices cos and sin of 2 pi j k / side, times the
gains, and the real part of the inverse. These products take 12 side^3 multiplications a plane, so this is for short sides.
"""

import math

import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked
from bart.gpu_kernels.fft.gains import factor, kept

LONGEST = 32
"""Pixels of the longest side."""
_SHORTEST = 16
"""Rows and columns of a matrix that is multiplied, at least."""
_TURN = tl.constexpr(2 * math.pi)


@triton.jit
def _turns(j, k, side):
    """Return cos and sin of 2 pi j k / side, float32; in float64 up to there, as the error of the angle is in every sum."""
    angle = (j * k % side).to(tl.float64) * (_TURN / side.to(tl.float64))
    return tl.cos(angle).to(tl.float32), tl.sin(angle).to(tl.float32)


@triton.jit
def _times(a, b):
    """Return the product of two matrices, in float32."""
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _filter_kernel(
    table, x, y, inside, keeps, seeds, height, width,
    BACK: tl.constexpr, CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Filter the image of a slot, or its gradient. What is beyond the image has the gain 0, so it may be anything."""
    mine, source, target = places(table, tl.program_id(0))
    if mine < 0:
        return
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    cos_h, sin_h = _turns(row[:, None], row[None, :], height)
    cos_w, sin_w = _turns(column[:, None], column[None, :], width)
    place, valid = row[:, None] * width + column[None, :], (row < height)[:, None] & (column < width)[None, :]
    gain = factor(tl.load(seeds + mine), place) / (height * width).to(tl.float32)
    for channel in range(3):  # unrolled, it would take three times as long to compile
        keep = tl.load(keeps + mine * 3 + channel).to(tl.float64)
        gains = tl.where(valid & kept(row, keep, height)[:, None] & kept(column, keep, width)[None, :], gain, 0.0)
        here = ((mine if BACK else source) * 3 + channel) * height * width + place
        value = tl.load(x + here, mask=valid, other=0.0)
        re, im = _times(value, cos_w), -_times(value, sin_w)
        re, im = _times(cos_h, re) + _times(sin_h, im), _times(cos_h, im) - _times(sin_h, re)
        re, im = re * gains, im * gains
        re, im = _times(cos_h, re) - _times(sin_h, im), _times(cos_h, im) + _times(sin_h, re)
        value = _times(re, cos_w) - _times(im, sin_w)
        marked = (mine * 3 + channel) * height * width + place
        if BACK:
            store_masked(y, inside, marked, value, valid, CLIP)
        else:
            there = (target * 3 + channel) * height * width + place
            store_clipped(y, inside, there, marked, value, valid, CLIP)


def fits(height: int, width: int) -> bool:
    """Return whether images are small enough."""
    return max(height, width) <= LONGEST


def filtered(part: Part, x: Tensor, back: bool) -> None:
    """Queue one launch, which filters the images of a part, or a gradient."""
    rows, columns = (max(_SHORTEST, triton.next_power_of_2(side)) for side in part.size)
    arguments = (part.table, x, part.y, part.inside, part.params["keep"], part.params["seed"], *part.size)
    constants = {"BACK": back, "CLIP": part.clip, "ROWS": rows, "COLUMNS": columns}
    launcher.launch(_filter_kernel, part.slots, *arguments, **constants, num_warps=8)
