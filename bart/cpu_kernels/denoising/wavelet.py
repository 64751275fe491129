"""Decompose planes into wavelets and shrink them on a CPU, compiled, with the bits of PyWavelets.

`low` and `high` are filters of an even length; images are mirrored at their borders. Sums are rounded term by term in the order
in which PyWavelets takes the taps of a filter: from the first to the last, but those that lie beyond the last pixel in reverse.
"""

from collections.abc import Sequence

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, part


def analysed(plane: Image, low: Image, high: Image) -> tuple[Image, Image, Image, Image]:
    """Return the bands aa, ad, da, dd of a plane (h, w) float64: d for details, of the rows' direction first."""
    (h, w), length = plane.shape, len(low)
    rows, columns = (h + length - 1) // 2, (w + length - 1) // 2
    halves = np.zeros((2, rows, w))
    _analyse_down(plane, low, high, halves)
    aa, ad, da, dd = (np.zeros((rows, columns)) for _ in range(4))
    _analyse_across(halves[0], low, high, aa, ad)
    _analyse_across(halves[1], low, high, da, dd)
    return aa, ad, da, dd


def synthesised(bands: Sequence[Image], low: Image, high: Image, size: tuple[int, ...]) -> Image:
    """Invert `analysed`, for a plane of `size`. The filters are those of the analysis, reversed."""
    rows, columns = bands[3].shape
    width, height = 2 * columns - len(low) + 2, 2 * rows - len(low) + 2
    halves = np.empty((2, rows, width))
    for half, a, d in zip(halves, bands[::2], bands[1::2], strict=True):
        _synthesise_across(np.ascontiguousarray(a[:rows, :columns]), d, low, high, half)  # else it is compiled twice
    plane = np.empty((height, width))
    _synthesise_down(halves[0], halves[1], low, high, plane)
    return plane[: size[0], : size[1]]


@compiled
def shrink(values: Image, threshold: float, soft: bool) -> None:
    """Shrink the coefficients of a band, in place."""
    if soft:
        for i in range(len(values)):
            values[i] -= min(max(values[i], -threshold), threshold)
    else:
        for i in range(len(values)):
            values[i] *= np.float64(abs(values[i]) >= threshold)


@part
def _tap(k: int, beyond: int) -> int:
    """Return the k-th tap of a sum of which `beyond` taps lie beyond the last pixel."""
    return beyond - 1 - k if k < beyond else k


@part
def _mirrored(place: int, size: int) -> int:
    """Return the pixel at a place, which may be outside."""
    place %= 2 * size
    return min(place, 2 * size - 1 - place)


@part
def _pair(one: Image, other: Image, p: float, q: float, total: Image) -> None:
    """Add two weighted lines."""
    for i in range(len(total)):
        total[i] = total[i] + one[i] * p + other[i] * q


@part
def _weigh(line: Image, p: float, total: Image) -> None:
    """Add a weighted line."""
    for i in range(len(total)):
        total[i] += line[i] * p


@compiled
def _analyse_down(x: Image, low: Image, high: Image, halves: Image) -> None:
    """Compute approximation and details along the first axis; `halves` is zero."""
    size = len(x)
    for row in range(halves.shape[1]):
        end = 2 * row + 1
        beyond = max(end - size + 1, 0)
        for k in range(0, len(low), 2):
            i, j = _tap(k, beyond), _tap(k + 1, beyond)
            one, other = x[_mirrored(end - i, size)], x[_mirrored(end - j, size)]
            _pair(one, other, low[i], low[j], halves[0, row])
            _pair(one, other, high[i], high[j], halves[1, row])


@compiled
def _analyse_across(x: Image, low: Image, high: Image, a: Image, d: Image) -> None:
    """Compute approximation and details along the second axis; `a` and `d` are zero."""
    size, count, reach = x.shape[1], a.shape[1], len(low) // 2 - 1
    even, odd = np.empty(count + reach), np.empty(count + reach)
    for row in range(len(x)):
        line, means, details = x[row], a[row], d[row]
        for k in range(count + reach):
            place = 2 * (k - reach)
            inside = place >= 0 and place + 1 < size
            even[k] = line[place if inside else _mirrored(place, size)]
            odd[k] = line[place + 1 if inside else _mirrored(place + 1, size)]
        for k in range(0, len(low), 2):
            start = reach - k // 2
            _pair(odd[start:], even[start:], low[k], low[k + 1], means)
            _pair(odd[start:], even[start:], high[k], high[k + 1], details)
        for i in range(size // 2, count):
            beyond, mean, detail = 2 * i + 2 - size, 0.0, 0.0
            for k in range(len(low)):
                tap = _tap(k, beyond)
                value = line[_mirrored(2 * i + 1 - tap, size)]
                mean += value * low[tap]
                detail += value * high[tap]
            means[i], details[i] = mean, detail


@compiled
def _synthesise_down(a: Image, d: Image, low: Image, high: Image, out: Image) -> None:
    """Invert `_analyse_down`."""
    half = len(low) // 2
    means, details = np.empty(a.shape[1]), np.empty(a.shape[1])
    for row in range(len(out)):
        for i in range(len(means)):
            means[i] = details[i] = 0
        last = row // 2 + half - 1
        for k in range(half):
            _weigh(a[last - k], low[2 * k + row % 2], means)
            _weigh(d[last - k], high[2 * k + row % 2], details)
        target = out[row]
        for i in range(len(target)):
            target[i] = means[i] + details[i]


@compiled
def _synthesise_across(a: Image, d: Image, low: Image, high: Image, out: Image) -> None:
    """Invert `_analyse_across`."""
    half, count = len(low) // 2, out.shape[1] // 2
    means, details = np.empty((2, count)), np.empty((2, count))
    for row in range(len(out)):
        for odd in range(2):
            for i in range(count):
                means[odd, i] = details[odd, i] = 0
            for k in range(half):
                _weigh(a[row, half - 1 - k :], low[2 * k + odd], means[odd])
                _weigh(d[row, half - 1 - k :], high[2 * k + odd], details[odd])
        target = out[row]
        for i in range(count):
            target[2 * i] = means[0, i] + details[0, i]
            target[2 * i + 1] = means[1, i] + details[1, i]
