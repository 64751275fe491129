"""Compute medians and means over disks on a CPU, compiled: what `bart.transforms.denoising.rank` defines, with the same bits.

Planes are flat lines with a margin, where a shift in two dimensions is one number. A part of a line goes through all shifts
of the disk while it is in the first-level cache. Each loop runs over slices that count from zero, so it becomes vector
instructions, and takes four shifts at a time: a disk of radius 2 to 5 has 4 m + 1 pixels.

Sums of gradients are rounded after each term. So they are taken ring by ring, as `bart.transforms.denoising.disks` does, in its
order of `offsets`, (m, 2) of y and x.
"""

from functools import lru_cache

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled

CHUNK = 8192
"""Entries of a line that are computed together."""


Offsets = tuple[tuple[int, int], ...]
"""Pixels of a disk, as steps down and to the right."""


def median(radius: int, plane: Image) -> tuple[Image, Image]:
    """Return the levels of a plane (h, w) float32, and the element number floor(population / 2) of each sorted disk, uint8."""
    levels = _levels(plane)
    half, line = _line(_population(plane.shape, radius) // 2, radius, 0), _line(levels, radius, 255)
    found = np.zeros_like(line)
    _median(line, half, _shifts(plane.shape, radius, _disk(radius)), found)
    return levels, _plane(found, plane.shape, radius)


def median_backward(offsets: Offsets, levels: Image, medians: Image, gradient: Image) -> tuple[Image]:
    """Divide each output's gradient, (h, w) float32, equally among the pixels of its disk that have the median's level."""
    radius = max(offsets)[0]
    shape, lines = levels.shape, [_line(plane, radius, 0) for plane in (levels, medians, gradient)]
    beyond = _line(len(offsets) - _population(shape, radius), radius, 0)  # zeros that the margin adds to those of the image
    total = np.zeros_like(lines[2])
    _median_backward(*lines, beyond, _shifts(shape, radius, offsets), total)
    return (_plane(total, shape, radius),)


def mean(radius: int, plane: Image) -> tuple[Image]:
    """Return the mean of each disk, rounded down, uint8, of a plane (h, w) float32."""
    line = _line(_levels(plane).astype(np.uint16), radius, 0)
    means = np.zeros_like(line)
    _mean(line, _line(_population(plane.shape, radius), radius, 1), _shifts(plane.shape, radius, _disk(radius)), means)
    return (_plane(means, plane.shape, radius),)


def mean_backward(offsets: Offsets, gradient: Image) -> tuple[Image]:
    """Return the transpose of the unrounded mean, of (h, w) float32."""
    radius = max(offsets)[0]
    line = _line(gradient / _population(gradient.shape, radius).astype(np.float32), radius, 0)
    total = np.zeros_like(line)
    _sums(line, _shifts(gradient.shape, radius, offsets), total)
    return (_plane(total, gradient.shape, radius),)


@lru_cache
def _disk(radius: int) -> Offsets:
    """Return the pixels of a disk, its middle first."""
    reach = range(-radius, radius + 1)
    offsets = ((y, x) for y in reach for x in reach if y * y + x * x <= radius * radius)
    return tuple(sorted(offsets, key=lambda offset: offset != (0, 0)))


@lru_cache(maxsize=32)
def _population(shape: tuple[int, int], radius: int) -> Image:
    """Return how many pixels of each disk are inside an image, (h, w) uint8."""
    height, width = shape
    inside = np.pad(np.ones(shape, np.uint8), radius)
    parts = (inside[radius + y : radius + y + height, radius + x : radius + x + width] for y, x in _disk(radius))
    return np.stack(list(parts)).sum(axis=0, dtype=np.uint8)


@lru_cache(maxsize=64)
def _shifts(shape: tuple[int, int], radius: int, offsets: Offsets) -> Image:
    """Return offsets as steps along a line, (m,) int64."""
    return np.array([y * (shape[1] + 2 * radius) + x for y, x in offsets])


def _line(plane: Image, radius: int, outside: int) -> Image:
    """Return a plane as a line, with a margin of `outside`."""
    height, width = plane.shape
    line = np.full((height + 2 * radius, width + 2 * radius), outside, plane.dtype)
    line[radius : radius + height, radius : radius + width] = plane
    return line.reshape(-1)


def _plane(line: Image, shape: tuple[int, int], radius: int) -> Image:
    """Return the plane of a line without its margin."""
    return line.reshape(shape[0] + 2 * radius, -1)[radius:-radius, radius:-radius]


def _levels(plane: Image) -> Image:
    """Return a plane in [0, 1] as 8-bit levels, rounded half to even."""
    levels = np.empty(plane.shape, np.uint8)
    _round(plane.reshape(-1), levels.reshape(-1))
    return levels


@compiled
def _round(values: Image, levels: Image) -> None:
    """Round values to 8 bits; those outside [0, 1] count as its ends."""
    for i in range(len(levels)):
        levels[i] = np.uint8(np.rint(min(max(values[i], np.float32(0)), np.float32(1)) * np.float32(255)))


@compiled
def _ends(length: int, shifts: Image) -> tuple[int, int]:
    """Return the part of a line whose disks are on the line."""
    return -shifts.min(), length - shifts.max()


@compiled
def _median(line: Image, half: Image, shifts: Image, medians: Image) -> None:
    """Find each median bit by bit, as the largest level with at most `half` elements below it. `medians` is zero."""
    first, last = _ends(len(line), shifts)
    limits, counts = np.empty(CHUNK, np.uint8), np.empty(CHUNK, np.uint8)
    for start in range(first, last, CHUNK):
        end = min(start + CHUNK, last)
        limit, below, own, ranks = limits[: end - start], counts[: end - start], medians[start:end], half[start:end]
        for k in range(7, -1, -1):
            bit = np.uint8(1 << k)
            for i in range(len(own)):
                limit[i] = own[i] + bit
            _less(line[start:], limit, below)
            for m in range(1, len(shifts), 4):
                a, b, c, d = shifts[m], shifts[m + 1], shifts[m + 2], shifts[m + 3]
                _count_less(line[start + a :], line[start + b :], line[start + c :], line[start + d :], limit, below)
            for i in range(len(own)):
                own[i] += bit if below[i] <= ranks[i] else np.uint8(0)


@compiled
def _less(line: Image, limit: Image, below: Image) -> None:
    """Mark what is below its limit."""
    for i in range(len(below)):
        below[i] = np.uint8(line[i] < limit[i])


@compiled
def _count_less(a: Image, b: Image, c: Image, d: Image, limit: Image, below: Image) -> None:
    """Count what is below its limit, of four lines."""
    for i in range(len(below)):
        first = np.uint8(np.uint8(a[i] < limit[i]) + np.uint8(b[i] < limit[i]))
        second = np.uint8(np.uint8(c[i] < limit[i]) + np.uint8(d[i] < limit[i]))
        below[i] = np.uint8(below[i] + np.uint8(first + second))


@compiled
def _median_backward(levels: Image, medians: Image, gradient: Image, beyond: Image, shifts: Image, total: Image) -> None:
    """Write shares of the gradient over it, then add those of the disk to `total`, which is zero."""
    first, last = _ends(len(levels), shifts)
    counts = np.empty(CHUNK, np.uint8)
    for start in range(first, last, CHUNK):
        end = min(start + CHUNK, last)
        ties, own, share, outside = counts[: end - start], medians[start:end], gradient[start:end], beyond[start:end]
        for i in range(len(ties)):
            ties[i] = np.uint8(0) if own[i] else np.uint8(-outside[i])  # modulo 256
        for m in range(len(shifts)):
            _count_equal(levels[start + shifts[m] :], own, ties)
        for i in range(len(ties)):
            share[i] = share[i] / np.float32(max(ties[i], np.uint8(1)))  # the margin may have no tie
    for start in range(first, last, CHUNK):
        end = min(start + CHUNK, last)
        for m in range(len(shifts)):
            at = start + shifts[m]
            _add_selected(medians[at:], gradient[at:], levels[start:], total[start:end])


@compiled
def _count_equal(line: Image, own: Image, ties: Image) -> None:
    """Count what is equal."""
    for i in range(len(ties)):
        ties[i] = np.uint8(ties[i] + np.uint8(line[i] == own[i]))


@compiled
def _add_selected(medians: Image, share: Image, level: Image, total: Image) -> None:
    """Add the shares of those whose median is the own level; a product keeps NaN and Inf visible."""
    for i in range(len(total)):
        total[i] += np.float32(medians[i] == level[i]) * share[i]


@compiled
def _mean(line: Image, population: Image, shifts: Image, means: Image) -> None:
    """Compute the sum over each disk, divided by the number of its pixels and rounded down. `means` is zero."""
    _sums(line, shifts, means)
    for i in range(len(means)):
        means[i] = np.uint16((np.float32(means[i]) + np.float32(0.5)) / np.float32(population[i]))


@compiled
def _sums(line: Image, shifts: Image, total: Image) -> None:
    """Add the entries of each disk to `total`, in the order of `shifts`."""
    first, last = _ends(len(line), shifts)
    for start in range(first, last, CHUNK):
        end = min(start + CHUNK, last)
        for m in range(len(shifts)):
            _add(line[start + shifts[m] :], total[start:end])


@compiled
def _add(line: Image, total: Image) -> None:
    """Add a line."""
    for i in range(len(total)):
        total[i] += line[i]
