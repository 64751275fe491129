"""Find what remains of images after seam carving on a CPU, compiled, image by image, as `bart.transforms.seam_carving` does."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each


def kept_pixels(x: Tensor, counts: tuple[list[int], list[int]], luminance: tuple[float, float, float], scale: float) -> Tensor:
    """Return which pixels remain, (n, h, w) int64, as `bart.transforms.seam_carving.kept_pixels` does.

    x           (n, 3, h, w) float32
    counts      of each image, how many vertical and how many horizontal seams
    scale       of the energies, after which they are whole numbers
    """
    images, kept = x.detach().contiguous().numpy(), torch.empty((len(x), *x.shape[-2:]), dtype=torch.int64)
    pixels, kernels = kept.numpy(), _compiled()

    def one(i: int) -> None:
        grey = np.empty(images.shape[-2:])
        kernels["grey"](images[i], *luminance, grey)
        column = _kept(kernels, grey, counts[0][i], 0, scale)
        if counts[1][i]:
            carved = np.empty(grey.shape[::-1])
            kernels["carved"](grey, column, carved)
            kernels["pixels"](_kept(kernels, carved, counts[1][i], counts[0][i], scale), column, pixels[i])
        else:
            pixels[i] = column
            pixels[i] += np.arange(len(column))[:, None] * column.shape[1]

    each(one, len(x))
    return kept


def _kept(kernels: dict[str, Any], grey: Image, count: int, empty: int, scale: float) -> Image:
    """Return which columns remain in each row, (rows, columns) int32, the last one repeated.

    `count` seams are removed. The energy of the last `empty` rows is 0.
    """
    rows, columns = grey.shape
    kept = np.empty(grey.shape, np.int32)
    kept[:] = np.arange(columns)
    if not count:
        return kept
    squares = torch.empty(grey.shape, dtype=torch.double)
    kernels["squares"](grey, squares.numpy())
    energy = squares.sqrt_().mul_(scale).round_().float().numpy()
    energy[:, 0] = energy[:, -1] = np.inf
    energy[rows - empty :] = 0
    scratch = np.empty_like(energy)
    for left in range(columns, columns - count, -1):
        kernels["totals"](energy, left, scratch)
        kernels["cut"](energy, kept, left, scratch)
    kept[:, columns - count :] = kept[:, [columns - count - 1]]
    return kept


@lru_cache(maxsize=1)
def _compiled() -> dict[str, Any]:
    """Compile the loops below once; the machine code is cached beside this file. They run without the interpreter's lock."""
    from bart.cpu_kernels.compiling import compiled

    loops = {"grey": _grey, "squares": _squares, "carved": _carved, "pixels": _pixels, "totals": _totals, "cut": _cut}
    return {name: compiled(loop) for name, loop in loops.items()}


def _grey(image: Image, red: float, green: float, blue: float, grey: Image) -> None:
    """Compute luminance in double precision."""
    for y in range(len(grey)):
        r, g, b, out = image[0, y], image[1, y], image[2, y], grey[y]
        for x in range(len(out)):
            out[x] = np.float64(r[x]) * red + np.float64(g[x]) * green + np.float64(b[x]) * blue


def _squares(grey: Image, squares: Image) -> None:
    """Compute the squared Sobel magnitude, times 32; the border is repeated outwards."""
    rows, columns = grey.shape
    down, across = np.empty(columns + 2), np.empty(columns + 2)
    for y in range(rows):
        above, own, below, out = grey[max(y - 1, 0)], grey[y], grey[min(y + 1, rows - 1)], squares[y]
        inner = down[1:-1]
        for x in range(columns):
            inner[x] = above[x] + 2 * own[x] + below[x]
        down[0], down[-1] = inner[0], inner[-1]
        left, right = down[:-2], down[2:]
        for x in range(columns):
            out[x] = (right[x] - left[x]) * (right[x] - left[x])
        for line, sign in ((below, 1.0), (above, -1.0)):
            across[1:-1] = line
            across[0], across[-1] = line[0], line[-1]
            if sign > 0:
                for x in range(columns):
                    inner[x] = across[x] + 2 * across[x + 1] + across[x + 2]
            else:
                for x in range(columns):
                    inner[x] -= across[x] + 2 * across[x + 1] + across[x + 2]
        for x in range(columns):
            out[x] += inner[x] * inner[x]


def _carved(grey: Image, column: Image, carved: Image) -> None:
    """Collect the pixels that remain, and swap rows and columns."""
    for y in range(len(grey)):
        for x in range(grey.shape[1]):
            carved[x, y] = grey[y, column[y, x]]


def _pixels(row: Image, column: Image, pixels: Image) -> None:
    """Compute the places of the pixels that remain from their rows, column by column, and their columns, row by row."""
    for y in range(len(pixels)):
        for x in range(pixels.shape[1]):
            pixels[y, x] = row[x, y] * pixels.shape[1] + column[row[x, y], x]


def _totals(energy: Image, left: int, totals: Image) -> None:
    """Compute the least energy of a path from the first row to each pixel of the first `left` columns.

    Every row is taken as slices that count from zero: only such a loop becomes vector instructions.
    """
    totals[0, :left] = energy[0, :left]
    for r in range(1, len(energy)):
        above, own, row = totals[r - 1, :left], energy[r, :left], totals[r, :left]
        middle, after, inner, out = above[1:], above[2:], own[1:], row[1:]
        row[0] = min(above[0], above[1]) + own[0]
        for c in range(left - 2):
            out[c] = min(above[c], min(middle[c], after[c])) + inner[c]
        row[left - 1] = min(above[left - 2], above[left - 1]) + own[left - 1]


def _cut(energy: Image, kept: Image, left: int, totals: Image) -> None:
    """Follow the least path from its end, ties to the left, and move all pixels to the right of it one column on."""
    first, last = 0, left
    for r in range(len(energy) - 1, -1, -1):
        column = first
        for c in range(first + 1, last):
            if totals[r, c] < totals[r, column]:
                column = c
        costs, columns = energy[r, column:left], kept[r, column:left]
        for c in range(len(costs) - 1):
            costs[c] = costs[c + 1]
        for c in range(len(costs) - 1):
            columns[c] = columns[c + 1]
        first, last = max(column - 1, 0), min(column + 2, left)
