"""Reduce colour precision and mix channels, pixel by pixel.

All grey transforms are y = (diag(own) + blend weight^T) x of a pixel's RGB, with three numbers each that follow from the
parameters. Their backward pass is the same with `blend` and `weight` exchanged.
"""

import triton
import triton.language as tl


@triton.jit
def quantised(value, scale):
    """Return round(value scale) / scale. Ties go to even and are found by comparisons, which no fused operation can change."""
    scaled = value * scale
    low = tl.floor(scaled)
    odd = tl.floor(low * 0.5) * 2.0 != low
    up = (scaled > low + 0.5) | ((scaled == low + 0.5) & odd)
    return tl.div_rn(tl.where(up, low + 1.0, low), scale)


@triton.jit
def _mixture(channel, record, KIND: tl.constexpr):
    """Return `own`, `blend` and `weight` of one channel from an image's numbers."""
    if KIND == "mix":  # ratio of three
        return 0.0, 1.0, tl.load(record + channel)
    elif KIND == "partial_mix":  # ratio of three, keep of three
        keep = tl.load(record + 3 + channel)
        return keep, 1.0 - keep, tl.load(record + channel)
    else:  # the channel that is not mixed, ratio of the two others, and how much of their mix the channel gets
        third = tl.load(record)
        rank = tl.minimum(channel - (third < channel).to(tl.int32), 1)  # among the two that are mixed; unused for the third
        other = (third != channel).to(tl.float32)
        weight = other * tl.load(record + 1 + rank)
        if KIND == "two_thirds":
            return 1.0 - other, other, weight
        else:
            tl.static_assert(KIND == "one_channel")
            blend = (1.0 - other) * tl.load(record + 3)
            return 1.0 - blend, blend, weight


@triton.jit
def mixed(red, green, blue, record, KIND: tl.constexpr, TRANSPOSED: tl.constexpr):
    """Multiply pixels by their image's matrix, or by its transpose."""
    own_0, blend_0, weight_0 = _mixture(0, record, KIND)
    own_1, blend_1, weight_1 = _mixture(1, record, KIND)
    own_2, blend_2, weight_2 = _mixture(2, record, KIND)
    if TRANSPOSED:
        common = blend_0 * red + blend_1 * green + blend_2 * blue
        return own_0 * red + weight_0 * common, own_1 * green + weight_1 * common, own_2 * blue + weight_2 * common
    else:
        common = weight_0 * red + weight_1 * green + weight_2 * blue
        return own_0 * red + blend_0 * common, own_1 * green + blend_1 * common, own_2 * blue + blend_2 * common
