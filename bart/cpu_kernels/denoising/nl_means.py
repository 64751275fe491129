"""Compute the sums of non-local means on a CPU, compiled, one image at a time; see `bart.transforms.denoising.nl_means`.

Planes are stored as flat lines, where a shift in two dimensions is one number. Entries between the ends of two rows are
computed too; their results are in the margin and are cropped. The image is processed in bands of rows, all shifts of a band
one after another, so that a band stays in the cache. Each loop runs over a line, so the compiler turns it into vector
instructions.
"""

from typing import Any

import numpy as np
from numba import njit

from bart.approximate_exp import CUTOFF, OFFSET, SLOPE
from bart.cpu_kernels.base import Image

BAND = 16
"""Rows that are computed together."""
STEEPNESS, LEAST, ONE = np.float32(-SLOPE), np.int32(-int(CUTOFF * SLOPE)), np.int32(OFFSET)
"""Constants of the exponential: from a distance to bits, the bits at the cutoff, and those of exp(0)."""

compiled = njit(nogil=True, cache=True)


def sums(values: Image, width: int, scale: float, radius: int, distance: int, own: float) -> tuple[Image, Image]:
    """Return, over all shifts within `distance`, the sum of weight times difference, (c, length), and that of the weights,
    (length,).

    values      (c, length) float32: planes with a margin of radius + distance, as lines of rows of `width`; one set of weights
    scale       factor from the squared differences of two patches, summed, to the argument of the exponential
    radius      2 or 3: a patch sums 2 radius pixels a side, beginning radius - 1 before its own pixel
    own         the weight of a pixel for itself
    """
    length = (BAND + 2 * radius) * width
    lines, bits = np.empty((3, length), np.float32), np.empty(length, np.int32)
    total, weights = np.zeros_like(values), np.full_like(values[0], own)
    _accumulate(values, width, np.float32(scale), radius, distance, total, weights, lines, bits, bits.view(np.float32))
    return total, weights


@compiled
def _squares(values: Image, start: int, shift: int, squares: Image) -> None:
    """Compute the squared differences of pixels and those `shift` further on, summed over the planes."""
    for c in range(len(values)):
        here, there = values[c, start : start + len(squares)], values[c, start + shift : start + shift + len(squares)]
        for i in range(len(squares)):
            step = there[i] - here[i]
            squares[i] = squares[i] + step * step if c else step * step


@compiled
def _box(line: Image, stride: int, radius: int, out: Image) -> None:
    """Sum 2 radius entries that are `stride` apart, indexed by the first of them."""
    b, c, d = line[stride:], line[2 * stride :], line[3 * stride :]
    if radius == 2:
        for i in range(len(out)):
            out[i] = (line[i] + b[i]) + (c[i] + d[i])
    else:
        e, f = line[4 * stride :], line[5 * stride :]
        for i in range(len(out)):
            out[i] = ((line[i] + b[i]) + (c[i] + d[i])) + (e[i] + f[i])


@compiled
def _exponentials(away: Image, scale: Any, bits: Image) -> None:
    """Compute exp(-scale away) as the bits of float32, 0 beyond the cutoff. Values outside int32 become its lowest number."""
    for i in range(len(bits)):
        bit = np.int32(away[i] * scale * STEEPNESS)
        bits[i] = ((bit + ONE) << 3) if bit >= LEAST else 0


@compiled
def _add(weight: Image, here: Image, there: Image) -> None:
    """Add the weights of pairs to both pixels."""
    for i in range(len(weight)):
        here[i] += weight[i]
    for i in range(len(weight)):  # a separate loop, because both may be the same memory
        there[i] += weight[i]


@compiled
def _move(weight: Image, values: Image, start: int, shift: int, total: Image, steps: Image) -> None:
    """Move the two pixels of each pair towards each other."""
    end = start + len(weight)
    for c in range(len(values)):
        here, there = values[c, start:end], values[c, start + shift : end + shift]
        ours, theirs = total[c, start:end], total[c, start + shift : end + shift]
        for i in range(len(weight)):
            steps[i] = weight[i] * (there[i] - here[i])
            ours[i] += steps[i]
        for i in range(len(weight)):
            theirs[i] -= steps[i]


@compiled
def _accumulate(
    values: Image, width: int, scale: Any, radius: int, distance: int, total: Image, weights: Image,
    lines: Image, bits: Image, weight: Image,
) -> None:  # fmt: skip
    """Add up all pairs of pixels of which one is inside the image. `weight` is the memory of `bits`, seen as float32."""
    margin = radius + distance
    bottom, right = values.shape[1] // width - margin, width - margin
    corner = (radius - 1) * (width + 1)  # from a pixel back to the first of its patch
    for top in range(radius, bottom, BAND):
        for y in range(distance + 1):
            first, last = max(top, margin - y), min(top + BAND, bottom)
            if first >= last:
                continue
            for x in range(-distance if y else 1, distance + 1):
                start, shift = first * width + margin - max(x, 0), y * width + x
                length = (last - 1) * width + right - min(x, 0) - start
                wide = length + 2 * radius - 1
                squares, columns, patches = lines[0, : wide + (2 * radius - 1) * width], lines[1, :wide], lines[2, :length]
                _squares(values, start - corner, shift, squares)
                _box(squares, width, radius, columns)
                _box(columns, 1, radius, patches)
                _exponentials(patches, scale, bits[:length])
                _add(weight[:length], weights[start : start + length], weights[start + shift : start + shift + length])
                _move(weight[:length], values, start, shift, total, patches)
