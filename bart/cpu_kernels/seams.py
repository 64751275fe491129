"""Find the seams of seam carving on a CPU, compiled, image by image: the search of `bart.transforms.seam_carving`."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each


def kept_columns(energy: Tensor, count: Tensor) -> Tensor:
    """Return which columns remain in each row after `count` (n,) seams are removed: (n, rows, columns) int64, the last one
    repeated.

    energy (n, rows, columns) float32.
    """
    costs, counts = energy.numpy(), count.tolist()
    kept = np.empty(costs.shape, np.int64)
    carve = _compiled()
    each(lambda i: carve(costs[i].copy(), counts[i], kept[i]), len(costs))
    return torch.from_numpy(kept)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return `carve(energy, count, kept)` of one image, compiled once; the machine code is cached beside this file.

    It runs without the interpreter's lock. It overwrites `energy` (rows, columns) and fills `kept`, of the same shape.
    """
    from numba import njit

    totals, cut = (njit(nogil=True, cache=True)(function) for function in (_totals, _cut))

    def carve(energy: Image, count: int, kept: Image) -> None:
        scratch = np.empty_like(energy)
        kept[:] = np.arange(energy.shape[1])
        for i in range(count):
            left = energy.shape[1] - i
            totals(energy, left, scratch)
            cut(energy, kept, left, scratch)
        kept[:, energy.shape[1] - count :] = kept[:, [energy.shape[1] - count - 1]]

    return carve


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
