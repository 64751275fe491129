"""Compute the pixel fields of `bart.rng` inside kernels, bit for bit the same, without storing them."""

import triton
import triton.language as tl

from bart import rng

_GOLDEN, _MIX_1, _MIX_2 = tl.constexpr(rng._GOLDEN), tl.constexpr(rng._MIX_1), tl.constexpr(rng._MIX_2)
_LOWBIAS_1, _LOWBIAS_2 = tl.constexpr(rng._LOWBIAS_1 % 2**32), tl.constexpr(rng._LOWBIAS_2 % 2**32)


@triton.jit
def _fold(seed, data):
    """Return the child of a seed, int64, as `rng.fold` (SplitMix64)."""
    x = seed + tl.cast(data + 1, tl.int64) * _GOLDEN
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX_1  # the masks turn arithmetic shifts into logical ones
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@triton.jit
def _mix(x):
    """Hash uint32 by `lowbias32`."""
    x = (x ^ (x >> 16)) * _LOWBIAS_1
    x = (x ^ (x >> 15)) * _LOWBIAS_2
    return x ^ (x >> 16)


@triton.jit
def field(seed, stream, counter):
    """Return U[0, 1) float32 of the pixels `counter` (integers):

    `rng.field` of `seed` (int64) and `stream`; shapes broadcast.
    """
    key = _fold(seed, stream)
    low, high = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    x = _mix(_mix(counter.to(tl.uint32) ^ low) + high)
    return (x >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2^-24
