"""Equalise planes by CLAHE on a CPU, compiled: what `bart.transforms.clahe` defines, with the same bits."""

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, fma
from bart.cpu_kernels.contrast import TABLES, count

BINS, ROUNDS = 256, 8
CHUNK = 4096
"""Values that are computed together, so that they stay in the first-level cache."""


Tile = tuple[int, int, int]
"""Height and width of a tile, and the most counts of a bin."""


def clahe(image: Image, tiles: list[Tile], per_channel: bool, greys: int, per_bin: int, out: Image) -> None:
    """Write CLAHE of an image (3, h, w) float32 in [0, 1]: of each channel with its tile, or of its value with the first one.

    There are greys 0..`greys`, and `per_bin` of them have the same bin.
    """
    if per_channel:
        for plane, tile, target in zip(image, tiles, out, strict=True):
            _equalise(plane, tile, greys, per_bin, target)
    else:
        channels, value, equalised = image.reshape(3, -1), np.empty_like(image[0]), np.empty_like(image[0])
        _values(channels, value.reshape(-1))
        _equalise(value, tiles[0], greys, per_bin, equalised)
        _colour(channels, value.reshape(-1), equalised.reshape(-1), out.reshape(3, -1))


@compiled
def _values(channels: Image, value: Image) -> None:
    """Compute the largest channel of each pixel."""
    red, green, blue = channels[0], channels[1], channels[2]
    for i in range(len(value)):
        value[i] = max(max(red[i], green[i]), blue[i])


@compiled
def _colour(channels: Image, value: Image, equalised: Image, out: Image) -> None:
    """Give pixels another value of HSV."""
    for c in range(3):
        own, target = channels[c], out[c]
        for i in range(len(value)):
            target[i] = (own[i] / value[i] if value[i] > 0 else np.float32(1)) * equalised[i]


def _equalise(plane: Image, tile: Tile, greys: int, per_bin: int, out: Image) -> None:
    """Write CLAHE of a plane (h, w)."""
    height, width, limit = tile
    levels = np.empty(plane.size, np.float32)
    _levels(plane.reshape(-1), levels)
    bins = np.empty(plane.shape, np.uint8)
    _bins(levels, levels.min(), levels.max(), np.float32(greys), np.float32(per_bin), bins.reshape(-1))
    maps = _maps(bins, height, width, limit, np.float32(greys))
    rows, columns = (_between(side, length) for side, length in zip(plane.shape, (height, width), strict=True))
    _interpolate(bins, maps, *rows, *columns, out)
    _stretch(out.reshape(-1), out.min(), out.max())


def _between(side: int, tile: int) -> tuple[Image, Image, Image]:
    """Return the tiles before and after each pixel of a side, and how far it is from one centre to the other, in 0..1."""
    position = np.arange(side) + tile // 2
    last, after = (side + tile - 1) // tile - 1, position // tile
    return np.clip(after - 1, 0, last), np.minimum(after, last), (position % tile).astype(np.float32) / np.float32(tile)


@compiled
def _levels(values: Image, levels: Image) -> None:
    """Round values to 16 bits."""
    for i in range(len(values)):
        levels[i] = np.rint(values[i] * np.float32(65535))


@compiled
def _bins(levels: Image, low: float, high: float, greys: float, per_bin: float, bins: Image) -> None:
    """Stretch the range of levels to 0..greys, clip a constant plane, and put the greys into bins."""
    for i in range(len(levels)):
        grey = (levels[i] - low) / (high - low) * greys if high > low else min(levels[i], greys)
        bins[i] = np.uint8(np.int32(np.floor(np.rint(grey) / per_bin)))


@compiled
def _maps(bins: Image, height: int, width: int, limit: int, greys: float) -> Image:
    """Return the map of each tile, (rows, columns, BINS) float32; the last tiles are completed with the mirrored image."""
    h, w = bins.shape
    down, across = (h + height - 1) // height, (w + width - 1) // width
    maps = np.empty((down, across, BINS), np.float32)
    tables, counts = np.empty((TABLES, BINS), np.int32), np.empty(BINS, np.int32)
    row = np.empty(across * width, np.uint8)
    strip = np.zeros((across, TABLES, BINS), np.int32)
    scale = np.float32(1) / np.float32(height * width) * greys  # as PyTorch divides a number by a tensor
    for r in range(down):
        strip[:] = 0
        for y in range(r * height, (r + 1) * height):
            source = bins[y if y < h else 2 * (h - 1) - y]
            row[:w] = source
            for x in range(w, len(row)):
                row[x] = source[2 * (w - 1) - x]
            for t in range(across):
                count(row[t * width : (t + 1) * width], strip[t])
        for t in range(across):
            tables = strip[t]
            for k in range(BINS):
                counts[k] = tables[0, k] + tables[1, k] + tables[2, k] + tables[3, k]
            _spread(counts, _clip(counts, limit), limit)
            total = 0
            for k in range(BINS):
                total += counts[k]
                grey = np.float32(total) * scale
                maps[r, t, k] = np.floor(grey if grey < greys else greys)
    return maps


@compiled
def _clip(counts: Image, limit: int) -> int:
    """Clip a histogram at `limit`, and return the counts that remain after equal shares."""
    excess = 0
    for k in range(BINS):
        excess += max(counts[k] - limit, 0)
    share, taken = excess // BINS, 0
    for k in range(BINS):
        own = min(counts[k], limit)
        low = own < limit - share
        own += share if low else 0
        taken += share if low else 0
        nearly = own >= limit - share
        taken += limit - own if nearly else 0
        counts[k] = limit if nearly else own
    return excess - taken


@compiled
def _spread(counts: Image, excess: int, limit: int) -> None:
    """Add one count each to the bins below the limit until the excess is used up: in round i from bin i, at even distances."""
    for i in range(ROUNDS):
        if excess <= 0:
            break
        free = 0
        for k in range(BINS):
            free += 1 if counts[k] < limit else 0
        for k in range(i, BINS, max(free // excess, 1)):
            if counts[k] < limit:
                counts[k] += 1
                excess -= 1


@compiled
def _interpolate(
    bins: Image, maps: Image, above: Image, below: Image, down: Image, left: Image, right: Image, along: Image, out: Image
) -> None:
    """Map each pixel by the maps of the four tiles whose centres surround it, and round down."""
    w = bins.shape[1]
    one, other, second = np.empty(w, np.uint32), np.empty(w, np.uint32), np.empty(w, np.float32)
    for y in range(bins.shape[0]):
        here, target, weight = bins[y], out[y], down[y]
        for x in range(w):
            one[x] = np.uint32(left[x] * BINS + here[x])
        for x in range(w):
            other[x] = np.uint32(right[x] * BINS + here[x])
        _between_columns(maps[above[y]].reshape(-1), one, other, along, target)
        _between_columns(maps[below[y]].reshape(-1), one, other, along, second)
        for x in range(w):
            target[x] = np.floor(_lerp(target[x], second[x], weight))


@compiled
def _between_columns(maps: Image, one: Image, other: Image, along: Image, out: Image) -> None:
    """Map each pixel of a row by two maps, and interpolate."""
    for x in range(len(out)):
        out[x] = _lerp(maps[one[x]], maps[other[x]], along[x])


@compiled
def _lerp(start: float, end: float, weight: float) -> float:
    """Interpolate as PyTorch does: from the nearer end, which keeps two equal values."""
    near, far = fma(weight, end - start, start), fma(start - end, np.float32(1) - weight, end)
    return near if weight < np.float32(0.5) else far


@compiled
def _stretch(values: Image, low: float, high: float) -> None:
    """Stretch the range to 0..1, in place; clip a constant."""
    for i in range(len(values)):
        values[i] = (values[i] - low) / (high - low) if high > low else min(values[i], np.float32(1))
