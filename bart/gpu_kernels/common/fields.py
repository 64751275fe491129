"""The pixel fields of `bart.rng` inside kernels: the same hashes of the same counters, bit for bit, with nothing stored."""

import triton
import triton.language as tl

from bart import rng

_GOLDEN, _MIX_1, _MIX_2 = tl.constexpr(rng._GOLDEN), tl.constexpr(rng._MIX_1), tl.constexpr(rng._MIX_2)
_LOWBIAS_1, _LOWBIAS_2 = tl.constexpr(rng._LOWBIAS_1 % 2**32), tl.constexpr(rng._LOWBIAS_2 % 2**32)


@triton.jit
def _fold(seed, data):
    """`rng.fold` of int64: SplitMix64's child of a seed."""
    x = seed + tl.cast(data + 1, tl.int64) * _GOLDEN
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX_1  # the masks make logical shifts of arithmetic ones
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@triton.jit
def _mix(x):
    """`lowbias32` of uint32."""
    x = (x ^ (x >> 16)) * _LOWBIAS_1
    x = (x ^ (x >> 15)) * _LOWBIAS_2
    return x ^ (x >> 16)


@triton.jit
def field(seed, stream, counter):
    """U[0, 1) float32 of the pixels `counter` (integers): `rng.field` of `seed` (int64) and `stream`; shapes broadcast."""
    key = _fold(seed, stream)
    low, high = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    x = _mix(_mix(counter.to(tl.uint32) ^ low) + high)
    return (x >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2^-24
