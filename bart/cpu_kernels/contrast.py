"""Equalise histograms and find percentiles on a CPU, compiled: what `bart.transforms.contrast` defines, with the same bits.

Equal pixels lie side by side, and a counter that was just written is slow to read: so neighbours count in tables of their own.
"""

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, fma

CHUNK = 2048
"""Values that are computed together, so that they stay in the first-level cache."""
TABLES = 4
"""Tables of counters; neighbours use different ones."""
COARSE = 4096
"""Bins in which order statistics are looked for."""


def equalised(plane: Image, bins: int, out: Image) -> None:
    """Map a plane (pixels,) float32 by its cumulative histogram of `bins` bins, interpolated between their centres."""
    low, high = float(plane.min()), float(plane.max())
    if not np.isfinite(high - low):  # has no place in a histogram
        out[:] = np.nan
        return
    half = 0.5 * (low == high)
    low, high = low - half, high + half
    _equalise(plane, low, bins / (high - low), bins, out)


@compiled
def count(index: Image, tables: Image) -> None:
    """Count indices in tables (TABLES, bins)."""
    a, b, c, d = tables[0], tables[1], tables[2], tables[3]
    whole = len(index) - len(index) % TABLES
    for i in range(0, whole, TABLES):
        a[index[i]] += 1
        b[index[i + 1]] += 1
        c[index[i + 2]] += 1
        d[index[i + 3]] += 1
    for i in range(whole, len(index)):
        a[index[i]] += 1


@compiled
def _equalise(plane: Image, low: float, scale: float, bins: int, out: Image) -> None:
    """Count, sum up and map."""
    index, within = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.float32)
    tables = np.zeros((TABLES, bins), np.int32)
    for start in range(0, len(plane), CHUNK):
        values = plane[start : start + CHUNK]
        places = index[: len(values)]
        for i in range(len(values)):
            places[i] = np.int32(max(min((np.float64(values[i]) - low) * scale, bins - 1.0), 0.0))
        count(places, tables)
    cumulative, slope = np.empty(bins, np.float32), np.zeros(bins, np.float32)
    total = 0
    for k in range(bins):
        total += tables[0, k] + tables[1, k] + tables[2, k] + tables[3, k]
        cumulative[k] = np.float32(total) / np.float32(len(plane))
        if k:
            slope[k - 1] = cumulative[k] - cumulative[k - 1]
    for start in range(0, len(plane), CHUNK):
        values, mapped = plane[start : start + CHUNK], out[start : start + CHUNK]
        places, parts = index[: len(values)], within[: len(values)]
        for i in range(len(values)):
            places[i] = np.int32(max(min((np.float64(values[i]) - low) * scale - 0.5, bins - 1.0), 0.0))
        for i in range(len(values)):
            position = max(min((np.float64(values[i]) - low) * scale - 0.5, bins - 1.0), 0.0)
            parts[i] = np.float32(position - np.float64(np.int32(position)))
        for i in range(len(values)):
            mapped[i] = fma(slope[places[i]], parts[i], cumulative[places[i]])


def order_statistics(values: Image, ranks: Image) -> Image:
    """Return the elements number `ranks` (m,) of the sorted `values` (pixels,) float32, counted from 0."""
    bins = np.empty(len(values), np.uint16)
    below = _coarse(values, bins)
    wanted = np.searchsorted(below, ranks, side="right") - 1
    found = np.empty(len(ranks), np.float32)
    for bin in set(wanted.tolist()):
        members, here = np.empty(below[bin + 1] - below[bin], np.float32), wanted == bin
        _select(values, bins, bin, members)
        found[here] = np.sort(members)[ranks[here] - below[bin]]
    return found


@compiled
def _coarse(values: Image, bins: Image) -> Image:
    """Put values in bins that are in their order, NaN in the last one. Returns how many are in bins before each, and in all."""
    tables = np.zeros((TABLES, COARSE), np.int32)
    for start in range(0, len(values), CHUNK):
        some, index = values[start : start + CHUNK], bins[start : start + CHUNK]
        for i in range(len(some)):
            scaled = min(some[i] * np.float32(COARSE), np.float32(COARSE - 1))
            index[i] = np.uint16(np.int32(scaled if scaled > 0 else np.float32(0)) if some[i] == some[i] else COARSE - 1)
        count(index, tables)
    below = np.zeros(COARSE + 1, np.int64)
    for k in range(COARSE):
        below[k + 1] = below[k] + tables[0, k] + tables[1, k] + tables[2, k] + tables[3, k]
    return below


@compiled
def _select(values: Image, bins: Image, bin: int, members: Image) -> None:
    """Collect the values of a bin."""
    k = 0
    for i in range(len(values)):
        if bins[i] == bin:
            members[k] = values[i]
            k += 1
