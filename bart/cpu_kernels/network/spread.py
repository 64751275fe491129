"""Hand the gradient of a depthwise convolution with a stride back to its images, in bfloat16 on a CPU: the compiled loops.

Planes are flat lines, in which the channels of a pixel come together. Loops count in unsigned numbers: Numba then does not ask
for each index whether it counts from the end, and they become vector instructions.
"""

from typing import Any

import numpy as np
from numba import njit

from bart.cpu_kernels.base import Image

Pair = tuple[int, int]

U: Any = np.uint64


@njit(nogil=True, cache=True)
def spread(
    given: Image,
    filters: Image,
    out: Image,
    size: Pair,
    given_size: Pair,
    side: Pair,
    stride: Pair,
    before: Pair,
    by_columns: bool,
) -> None:
    """Write the gradient of one image of `size` (h, w) from that of its output, of `given_size` (h', w').

    given, out  (h' w' c) and (h w c), the bits of bfloat16
    filters     (a b, pixels c) float32: the weights of a filter of `side` (a, b), each repeated for the pixels summed together
    before      the padding above and on the left
    by_columns  sum each column of the filter by itself; else row after row
    """
    (height, width), (rows, columns), right, stripe = size, given_size, stride[1], filters.shape[1]
    channels, ring = len(out) // (height * width), (side[0] - 1) // stride[0] + 2
    margin = max(0, (side[1] - 1 - before[1] + right - 1) // right)  # columns of zeros, here on the left and there on the right
    line = (max(columns, (width - 1 + before[1]) // right + 1) + margin) * channels
    kept = np.zeros(ring * line, np.float32)  # the rows of the gradient that are needed at a time
    weights, total, part = filters.reshape(-1), np.empty(stripe, np.float32), np.empty(stripe, np.float32)
    terms, places = np.empty((side[0] * side[1], 3), np.int64), np.empty((side[0] * side[1], 2), np.int64)
    ready = 0
    for i in range(height):
        while ready <= min((i + before[0]) // stride[0], rows - 1):
            to = ready % ring * line + margin * channels
            _widen(given, U(ready * columns * channels), kept, U(to), U(columns * channels))
            ready += 1
        for j in range(min(right, width)):  # these columns, and every `right`-th after them, have the same terms
            count, group = _terms(i + before[0], j + before[1], rows, side, stride, by_columns, terms)
            for t in range(count):
                places[t, 0] = terms[t, 0] % ring * line + (margin + terms[t, 1]) * channels
                places[t, 1] = terms[t, 2] * stripe
            pixels = (width - j + right - 1) // right
            for n in range(0, pixels, stripe // channels):
                together, shift = min(stripe // channels, pixels - n), n * channels
                _sum(total, together * channels, kept, shift, weights, places, 0, group)
                for first in range(group, count, max(group, 1)):
                    _sum(part, together * channels, kept, shift, weights, places, first, first + group)
                    _add(total, part, U(together * channels))
                for p in range(together):
                    _round(total, U(p * channels), out, U((i * width + j + (n + p) * right) * channels), U(channels))


@njit(nogil=True, cache=True)
def _terms(down: int, across: int, rows: int, side: Pair, stride: Pair, by_columns: bool, terms: Image) -> Pair:
    """Write which pixels (y, x) of the gradient meet which weights at a pixel of the padded image, in the order of the sum.

    Returns how many there are, and how many of them are summed before they join the others.
    """
    count = group = 0
    outer, inner = (side[1], side[0]) if by_columns else (side[0], side[1])
    for u in range(outer):
        for v in range(inner):
            a, b = (v, u) if by_columns else (u, v)
            y, x = down - a, across - b
            if y >= 0 and y % stride[0] == 0 and y // stride[0] < rows and x % stride[1] == 0:
                terms[count, 0], terms[count, 1], terms[count, 2] = y // stride[0], x // stride[1], a * side[1] + b
                count += 1
        if group == 0:
            group = count
    return count, group if by_columns else count


@njit(nogil=True, cache=True)
def _sum(total: Image, length: int, kept: Image, shift: int, weights: Image, places: Image, first: int, end: int) -> None:
    """Set `total` to the sum of some terms, one after the other. Each is a place in `kept` and one in `weights`."""
    if first == end:
        total[:length] = 0
    for t in range(first, end, 3):
        a, w = U(places[t, 0] + shift), U(places[t, 1])
        if t + 1 == end:
            _one(total, U(length), kept, a, weights, w, t == first)
            continue
        b, x = U(places[t + 1, 0] + shift), U(places[t + 1, 1])
        if t + 2 == end:
            _two(total, U(length), kept, a, b, weights, w, x, t == first)
            continue
        c, y = U(places[t + 2, 0] + shift), U(places[t + 2, 1])
        _three(total, U(length), kept, a, b, c, weights, w, x, y, t == first)


@njit(nogil=True, cache=True)
def _one(total: Image, length: int, kept: Image, a: int, weights: Image, w: int, new: bool) -> None:
    """Add one term, or begin with it. More than three at a time would no longer become vector instructions."""
    for i in range(length):
        total[i] = (np.float32(0) if new else total[i]) + kept[a + i] * weights[w + i]


@njit(nogil=True, cache=True)
def _two(total: Image, length: int, kept: Image, a: int, b: int, weights: Image, w: int, x: int, new: bool) -> None:
    """Add two terms, one after the other."""
    for i in range(length):
        total[i] = (np.float32(0) if new else total[i]) + kept[a + i] * weights[w + i] + kept[b + i] * weights[x + i]


@njit(nogil=True, cache=True)
def _three(
    total: Image, length: int, kept: Image, a: int, b: int, c: int, weights: Image, w: int, x: int, y: int, new: bool
) -> None:
    """Add three terms, one after the other."""
    for i in range(length):
        sum_of_two = (np.float32(0) if new else total[i]) + kept[a + i] * weights[w + i] + kept[b + i] * weights[x + i]
        total[i] = sum_of_two + kept[c + i] * weights[y + i]


@njit(nogil=True, cache=True)
def _add(total: Image, part: Image, length: int) -> None:
    """Add a part to a sum."""
    for i in range(length):
        total[i] += part[i]


@njit(nogil=True, cache=True)
def _widen(given: Image, start: int, kept: Image, to: int, length: int) -> None:
    """Turn the bits of bfloat16 into float32."""
    bits = kept.view(np.uint32)
    for i in range(length):
        bits[to + i] = np.uint32(given[start + i]) << np.uint32(16)


@njit(nogil=True, cache=True)
def _round(total: Image, start: int, out: Image, to: int, length: int) -> None:
    """Round float32 to the bits of bfloat16, ties to even; NaN stays NaN."""
    bits = total.view(np.uint32)
    for i in range(length):
        value = bits[start + i]
        rounded = (value + np.uint32(0x7FFF) + ((value >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        out[to + i] = rounded if (value & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F800000) else np.uint32(0x7FC0)
