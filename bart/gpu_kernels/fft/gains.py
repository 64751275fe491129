"""Compute the gains of coefficients where they are needed.

But for the removed band they are the same for the three channels.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.common.fields import field


@triton.jit
def kept(k, keep, side):
    """Return whether frequency k of a side remains, in float64: float32 would truncate to other integers than Python's."""
    return (k < tl.floor(keep * side).to(tl.int32)) | (k >= tl.floor((1 - keep) * side).to(tl.int32))


@triton.jit
def factor(seed, place):
    """Return the random factor of the coefficient at a place of the full spectrum."""
    return field(seed, 0, place) * 0.04 + 0.98
