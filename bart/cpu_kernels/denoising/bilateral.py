"""Compute the bilateral mean of `bart.transforms.denoising.rank` on a CPU, offset by offset of the disk, over bands of a
plane.

Planes are stored as flat lines with a margin, where a shift in two dimensions is one number. Sums have 16 bits: a disk of
radius 20 has 1257 pixels, each at most 39 above the window's lower end.
"""

import numpy as np
from numba import njit

from bart.cpu_kernels.base import Image

BAND = 8
"""Rows that are computed together, so that their data stays in the first-level cache."""
OUTSIDE = 2**16 - 1
"""The level of entries outside the image, above every window."""


def mean_bilateral(levels: Image, radius: int, s0: int, s1: int) -> Image:
    """Return the mean of those levels v of each disk with g - s1 < v < g + s0, rounded down. g is the pixel's own level.

    levels (h, w) uint8, and so is the result; radius up to 20, s0 and s1 up to 20.
    """
    own = levels.astype(np.int16)
    low = np.maximum(own - (s1 - 1), 0)
    span = np.minimum(own + (s0 - 1), 255) - low
    line, lows, spans = (_padded(plane, radius, value) for plane, value in ((own, OUTSIDE), (low, 0), (span, 0)))
    means = np.empty_like(line)
    rows = np.arange(-radius, radius + 1)
    halves = np.sqrt(radius**2 - rows**2 + 0.5).astype(np.int64)
    _means(line.reshape(-1), lows.reshape(-1), spans.reshape(-1), line.shape[1], radius, halves, means.reshape(-1))
    return means[radius:-radius, radius:-radius].astype(np.uint8)


def _padded(plane: Image, margin: int, value: int) -> Image:
    """Return a plane with a margin of `value` on all sides, uint16."""
    return np.pad(plane.astype(np.uint16), margin, constant_values=value)


@njit(nogil=True, cache=True)
def _means(line: Image, low: Image, span: Image, width: int, radius: int, halves: Image, means: Image) -> None:
    """Fill `means` inside the margin of `radius`. `halves` is how far the disk reaches on either side, row by row."""
    excess, count = np.empty(BAND * width, np.uint16), np.empty(BAND * width, np.uint16)
    bottom = len(line) // width - radius
    for top in range(radius, bottom, BAND):
        start = top * width + radius
        length = (min(top + BAND, bottom) - top) * width - 2 * radius
        lows, spans, aboves, counts = low[start:], span[start:], excess[:length], count[:length]
        aboves[:], counts[:] = 0, 0
        for dy in range(-radius, radius + 1):
            for dx in range(-halves[dy + radius], halves[dy + radius] + 1):
                levels = line[start + dy * width + dx :]
                for i in range(length):
                    above = np.uint16(levels[i] - lows[i])  # modulo 65536: a level below the window becomes one above it
                    kept = above <= spans[i]
                    aboves[i] += above if kept else np.uint16(0)
                    counts[i] += np.uint16(kept)
        for i in range(length):
            means[start + i] = lows[i] + aboves[i] // max(
                counts[i], np.uint16(1)
            )  # the entries between two rows may have no pixel
