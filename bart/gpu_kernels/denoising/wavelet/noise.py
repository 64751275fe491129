"""Estimate the noise of a plane: the median of the magnitudes of its finest diagonal details, over .6745."""

import triton
import triton.language as tl

from bart.gpu_kernels.denoising.wavelet.filters import CHUNK
from bart.transforms.denoising import wavelet as eager

_CHUNK, _QUARTILE = tl.constexpr(CHUNK), tl.constexpr(eager._QUARTILE)
_MAGNITUDE, _TWO = tl.constexpr(0x7FFFFFFF), tl.constexpr(0x40000000)
"""The bits of a float32 without its sign, and those of 2.0."""


@triton.jit
def _magnitudes(values, start, count):
    """Return the bits of a chunk of magnitudes, which have the order of the numbers; infinity beyond the last."""
    place = start + tl.arange(0, _CHUNK)
    value = tl.load(values + place, mask=place < count, other=float("inf"))
    return value.to(tl.int32, bitcast=True) & _MAGNITUDE


@triton.jit
def noise(values, count):
    """Return the median of the nonzero magnitudes of `values` (count,) float32 over .6745, float64; 0 if there are none."""
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
