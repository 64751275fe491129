"""Encode and decode an image as JPEG on a CPU, compiled, with the bits of `bart.transforms.jpeg`.

The 8 x 8 blocks of a few strips lie side by side, as lines of equal places: (column, row, block). So each loop of a transform
runs along the blocks. Its sums are those of PyTorch's products: term by term, each product and sum rounded once. The other
sums are exact, in any order.
"""

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.colours import CHUNK, mix
from bart.cpu_kernels.compiling import compiled, fma, part

TOGETHER = 256
"""Blocks that are transformed together: long loops, whose lines stay in the second-level cache."""
HALF, QUARTER, THREE_QUARTERS, LAST_TIE = (np.float32(number) for number in (0.5, 0.25, 0.75, 0.4375))


def coded(image: Image, steps: Image, inverse: Image, passes: Image, colours: Image, out: Image) -> None:
    """Write the decoded file of an image (3, h, w) float32 in [0, 1] to `out`, (3, h, w), before the last range limit.

    steps       (2, 8, 8), of luma and chroma, row by row; `inverse`: by what is multiplied instead of a division
    passes      (4, 8, 8): matrices of the rows, of the columns, and of the columns and rows of the way back
    colours     (2, 3, 3): matrices to and from luma and chroma
    """
    (height, width), few = image.shape[1:], (image.shape[2] + 1) // 2 <= 2
    planes = np.empty(image.shape, np.float32)
    _separate(image.reshape(3, -1), colours[0], planes.reshape(3, -1))
    _quantise(planes[0], steps[0], inverse[0], passes)
    half = np.empty(((height + 1) // 2, -(-width // 16) * 8), np.float32)
    for plane in planes[1:]:
        _halve(plane, half)
        _quantise(half, steps[1], inverse[1], passes)
        _restore(half, few, plane)
    _join(planes.reshape(3, -1), colours[1], out.reshape(3, -1))


@compiled
def _separate(x: Image, colours: Image, out: Image) -> None:
    """Round to 8 bits, and write luma and chroma, rounded, around 0."""
    levels = np.empty((3, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        for c in range(3):
            own, level = x[c, start:end], levels[c]
            for i in range(len(own)):
                level[i] = np.rint(own[i] * np.float32(255))
        luma, blue, red = out[0, start:end], out[1, start:end], out[2, start:end]
        mix(colours, levels[0, : end - start], levels[1, : end - start], levels[2, : end - start], luma, blue, red)
        for i in range(len(luma)):
            luma[i] = np.floor(luma[i] - np.float32(127.5))
        for i in range(len(blue)):
            blue[i] = np.ceil(blue[i] - HALF)
        for i in range(len(red)):
            red[i] = np.ceil(red[i] - HALF)


@compiled
def _join(planes: Image, colours: Image, out: Image) -> None:
    """Write the image of luma and chroma."""
    for start in range(0, planes.shape[1], CHUNK):
        end = min(start + CHUNK, planes.shape[1])
        luma, blue, red = planes[0, start:end], planes[1, start:end], planes[2, start:end]
        mix(colours, luma, blue, red, out[0, start:end], out[1, start:end], out[2, start:end])
        for c in range(3):
            own = out[c, start:end]
            for i in range(len(own)):
                own[i] = np.floor(own[i] + np.float32(128.5)) / np.float32(255)


@compiled
def _quantise(plane: Image, steps: Image, inverse: Image, passes: Image) -> None:
    """Round a plane's spectrum of blocks to whole steps, in place; the last row and column count for those that are missing."""
    height, width = plane.shape
    across, down = -(-width // 8), -(-height // 8)
    strips = max(1, TOGETHER // across)
    first, second = np.empty((8, 8, strips * across), np.float32), np.empty((8, 8, strips * across), np.float32)
    for top in range(0, down, strips):
        count = min(strips, down - top)
        for row in range(8 * count):
            at = (row % 8) * first.shape[2] + row // 8 * across
            _take(plane[min(8 * top + row, height - 1)], across, first.reshape(-1), at, 8 * first.shape[2])
        _forth(first, second, count * across, steps, inverse, passes)
        _back(first, second, count * across, passes)
        for row in range(min(8 * count, height - 8 * top)):
            at = (row % 8) * first.shape[2] + row // 8 * across
            _put(first.reshape(-1), at, 8 * first.shape[2], plane[8 * top + row])


@part
def _take(line: Image, count: int, lines: Image, at: int, step: int) -> None:
    """Write the elements of each eight of a line to lines of their own; the last counts for those that are missing."""
    a, b, c, d = lines[at:], lines[at + step :], lines[at + 2 * step :], lines[at + 3 * step :]
    e, f, g, h = lines[at + 4 * step :], lines[at + 5 * step :], lines[at + 6 * step :], lines[at + 7 * step :]
    whole = len(line) // 8
    for i in range(whole):
        own = line[8 * i : 8 * i + 8]
        a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i] = own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7]
    if whole < count:
        for k in range(8):
            lines[at + k * step + whole] = line[min(8 * whole + k, len(line) - 1)]


@part
def _put(lines: Image, at: int, step: int, line: Image) -> None:
    """Write the elements of each eight of a line from lines of their own."""
    a, b, c, d = lines[at:], lines[at + step :], lines[at + 2 * step :], lines[at + 3 * step :]
    e, f, g, h = lines[at + 4 * step :], lines[at + 5 * step :], lines[at + 6 * step :], lines[at + 7 * step :]
    whole = len(line) // 8
    for i in range(whole):
        own = line[8 * i : 8 * i + 8]
        own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7] = a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i]
    for i in range(8 * whole, len(line)):
        line[i] = lines[at + (i % 8) * step + whole]


@part
def _forth(x: Image, y: Image, count: int, steps: Image, inverse: Image, passes: Image) -> None:
    """Compute the spectra of the first blocks of (column, row, block), round them to steps, in place; `y` is scratch."""
    given, found, many = x.reshape(-1), y.reshape(-1), x.shape[2]
    for row in range(8):
        for u in range(8):
            own = y[u, row, :count]
            _sum(passes[0, u], given, row * many, 8 * many, own)
            for i in range(len(own)):
                own[i] = np.floor(own[i] + HALF)
    for u in range(8):
        for v in range(8):
            own, factor, step = x[u, v, :count], inverse[v, u], steps[v, u]
            _sum(passes[1, v], found, 8 * u * many, many, own)
            for i in range(len(own)):
                own[i] = np.rint(np.floor(own[i] + HALF) * factor) * step


@part
def _back(x: Image, y: Image, count: int, passes: Image) -> None:
    """Compute the first blocks of their spectra, in place; `y` is scratch."""
    given, found, many = x.reshape(-1), y.reshape(-1), x.shape[2]
    for u in range(8):
        for row in range(8):
            own = y[u, row, :count]
            _sum(passes[2, row], given, 8 * u * many, many, own)
            for i in range(len(own)):
                own[i] = np.floor(own[i] + HALF)
    for row in range(8):
        for k in range(8):
            own = x[k, row, :count]
            _sum(passes[3, k], found, row * many, 8 * many, own)
            for i in range(len(own)):
                own[i] = min(max(np.floor(own[i] + HALF), np.float32(-128)), np.float32(127))


@part
def _sum(factors: Image, lines: Image, at: int, step: int, out: Image) -> None:
    """Add eight lines times their factors."""
    a, b, c, d = lines[at:], lines[at + step :], lines[at + 2 * step :], lines[at + 3 * step :]
    e, f, g, h = lines[at + 4 * step :], lines[at + 5 * step :], lines[at + 6 * step :], lines[at + 7 * step :]
    p, q, r, s = factors[0], factors[1], factors[2], factors[3]
    t, u, v, w = factors[4], factors[5], factors[6], factors[7]
    for i in range(len(out)):
        low = fma(s, d[i], fma(r, c[i], fma(q, b[i], p * a[i])))
        out[i] = fma(w, h[i], fma(v, g[i], fma(u, f[i], fma(t, e[i], low))))


@compiled
def _halve(plane: Image, half: Image) -> None:
    """Write the mean of each 2 x 2 pixels, rounded: ties go down and up in turns. The last row and column are repeated."""
    height, width = plane.shape
    sums = np.empty(2 * half.shape[1], np.float32)
    for row in range(half.shape[0]):
        upper, lower, own = plane[2 * row], plane[min(2 * row + 1, height - 1)], half[row]
        for i in range(width):
            sums[i] = upper[i] + lower[i]
        for i in range(width, len(sums)):
            sums[i] = sums[width - 1]
        for i in range(len(own)):
            own[i] = np.floor((sums[2 * i] + sums[2 * i + 1]) * QUARTER + QUARTER + QUARTER * np.float32(i % 2))


@compiled
def _restore(half: Image, few: bool, plane: Image) -> None:
    """Write a plane of twice the size, rounded: a sample weighs 3/4 and its neighbour 1/4, or nothing where columns are few."""
    height, width = plane.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    line, even, odd = np.empty(columns + 2, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    weight = np.float32(1) if few else THREE_QUARTERS
    for row in range(height):
        near = half[row // 2, :columns]
        other = half[min(max(row // 2 - 1 + 2 * (row % 2), 0), rows - 1), :columns]
        inner = line[1:]
        for i in range(len(near)):
            inner[i] = weight * near[i] + (np.float32(1) - weight) * other[i]
        line[0], line[columns + 1] = line[1], line[columns]
        before, after = line, line[2:]
        for i in range(len(even)):
            even[i] = np.floor(weight * inner[i] + (np.float32(1) - weight) * before[i] + HALF)
        for i in range(len(odd)):
            odd[i] = np.floor(weight * inner[i] + (np.float32(1) - weight) * after[i] + LAST_TIE)
        own = plane[row]
        for i in range(width // 2):
            own[2 * i] = even[i]
            own[2 * i + 1] = odd[i]
        if width % 2:
            own[width - 1] = even[columns - 1]
