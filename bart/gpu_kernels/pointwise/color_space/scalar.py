"""Compute what the colour spaces share, number by number: matrix products, clips, gamma curves, and their derivatives."""

import torch
import triton
import triton.language as tl

from bart.transforms import color


def inverse_rows(rows: color.Rows) -> color.Rows:
    """Return the inverse of a matrix, in double precision."""
    first, second, third = color.constant(rows, True, torch.device("cpu"), torch.double).tolist()
    return first, second, third


@triton.jit
def product(a, b, c, M: tl.constexpr):
    """Return M (a, b, c)."""
    first = M[0][0] * a + M[0][1] * b + M[0][2] * c
    second = M[1][0] * a + M[1][1] * b + M[1][2] * c
    third = M[2][0] * a + M[2][1] * b + M[2][2] * c
    return first, second, third


@triton.jit
def transposed_product(a, b, c, M: tl.constexpr):
    """Return (a, b, c) M: the backward pass of `product`."""
    first = M[0][0] * a + M[1][0] * b + M[2][0] * c
    second = M[0][1] * a + M[1][1] * b + M[2][1] * c
    third = M[0][2] * a + M[1][2] * b + M[2][2] * c
    return first, second, third


@triton.jit
def in_range(value, high):
    """Return where a clip to [0, high] has derivative 1."""
    return (value >= 0.0) & (value <= high)


@triton.jit
def clip(value, high):
    """Clip to [0, high]."""
    return tl.minimum(tl.maximum(value, 0.0), high)


@triton.jit
def power(x, exponent):
    """Return x ** exponent for x > 0."""
    return tl.exp2(tl.log2(x) * exponent)


@triton.jit
def linear(x):
    """Convert sRGB to linear light; return also the derivative."""
    base = (tl.maximum(x, 0.04045) + 0.055) * (1 / 1.055)
    curved = x > 0.04045
    return tl.where(curved, power(base, 2.4), x * (1 / 12.92)), tl.where(curved, power(base, 1.4) * (2.4 / 1.055), 1 / 12.92)


@triton.jit
def encoded(x):
    """Convert linear light to sRGB; return also the derivative."""
    base = tl.maximum(x, 0.0031308)
    curved = x > 0.0031308
    value = tl.where(curved, power(base, 1 / 2.4) * 1.055 - 0.055, x * 12.92)
    return value, tl.where(curved, power(base, 1 / 2.4 - 1) * (1.055 / 2.4), 12.92)


@triton.jit
def root(x):
    """Return LAB's cube root, and the derivative."""
    base = tl.maximum(x, 0.008856)
    curved = x > 0.008856
    value = tl.where(curved, power(base, 1 / 3), x * 7.787 + 16 / 116)
    return value, tl.where(curved, power(base, -2 / 3) * (1 / 3), 7.787)


@triton.jit
def cube(x):
    """Return the inverse of `root`, and the derivative."""
    curved = x > 0.2068966
    return tl.where(curved, x * x * x, (x - 16 / 116) * (1 / 7.787)), tl.where(curved, x * x * 3.0, 1 / 7.787)
