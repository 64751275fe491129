"""Sample images bilinearly on a CPU, compiled, mirrored about the centres of border pixels, with the bits of `grid_sample`.

PyTorch rounds each of the four weights, and adds its product to the sum without rounding it first, on processors from AVX2 on;
on older ones it rounds both, and the last bit differs. Its derivative adds in an order that depends on the processor; so that
stays PyTorch's.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each
from bart.cpu_kernels.compiling import compiled, fma, part

CHUNK = 1024
"""Pixels that are sampled together, so that what the channels share stays in the first-level cache."""


class Sampled(torch.autograd.Function):
    """Sample images (n, 3, h, w) float32 at columns and rows (n, h, w).

    Places are from -1 to 1, the centres of the first and the last pixel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(x, columns, rows)
        out, (height, width) = torch.empty_like(x, memory_format=torch.contiguous_format), x.shape[2:]
        images, targets = (stack.detach().contiguous().flatten(2).numpy() for stack in (x, out))
        across, down = (places.detach().contiguous().flatten(1).numpy() for places in (columns, rows))
        each(lambda i: _sample(images[i], height, width, across[i], down[i], targets[i]), len(x))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _spread(gradient, *ctx.saved_tensors), None, None


class Resized(torch.autograd.Function):
    """Sample images (n, 3, h, w) float32 at all pairs of rows (n, h) and columns (n, w).

    Places are from -1 to 1, the centres of the first and the last pixel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(x, columns, rows)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        images, across, down, targets = (stack.detach().contiguous().numpy() for stack in (x, columns, rows, out))
        each(lambda i: _resize(images[i], across[i], down[i], targets[i]), len(x))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, columns, rows = ctx.saved_tensors
        shape = (len(x), *x.shape[2:])
        return _spread(gradient, x, columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), None, None


def _spread(gradient: Tensor, x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Return the gradient of images from that of their samples."""
    grid, bilinear, reflection = torch.stack([columns, rows], dim=-1), 0, 2
    found: Tensor = torch.ops.aten.grid_sampler_2d_backward(gradient, x, grid, bilinear, reflection, True, [True, False])[0]
    return found


@part
def _place(at: Any, last: Any, divisor: Any) -> Any:
    """Return a place in pixels, 0..last, from one of -1 to 1; `divisor` is `last`, or 1 for a single pixel."""
    pixel = abs((at + np.float32(1)) * (last / np.float32(2)))
    turns = np.floor(pixel / divisor)
    beyond = pixel - turns * last
    even = turns == np.float32(2) * np.floor(turns * np.float32(0.5))
    inside = beyond if even else last - beyond
    return min(max(inside, np.float32(0)), last)


@part
def _ends(side: int) -> Any:
    """Return the last place of a side, and by what is divided."""
    return np.float32(side - 1), np.float32(max(side - 1, 1))


@compiled
def _sample(image: Image, height: int, width: int, columns: Image, rows: Image, out: Image) -> None:
    """Sample an image (3, pixels) at columns and rows (pixels,)."""
    corners, weights = np.empty((4, CHUNK), np.uint32), np.empty((4, CHUNK), np.float32)
    (right, across), (bottom, down) = _ends(width), _ends(height)
    column, row = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    for start in range(0, len(columns), CHUNK):
        n = min(CHUNK, len(columns) - start)
        for i in range(n):
            column[i] = _place(columns[start + i], right, across)
        for i in range(n):
            row[i] = _place(rows[start + i], bottom, down)
        _weigh(column[:n], row[:n], weights)
        _find(column[:n], row[:n], height, width, corners)
        _gather(image, corners, weights, out[0, start : start + n], out[1, start : start + n], out[2, start : start + n])


@part
def _before(place: Any) -> Any:
    """Return the weight of the pixel before a place."""
    return (np.floor(place) + np.float32(1)) - place


@part
def _after(place: Any) -> Any:
    """Return the weight of the pixel after a place."""
    return place - np.floor(place)


@part
def _weigh(column: Image, row: Image, weights: Image) -> None:
    """Write the weights of the four pixels around each place."""
    nearest, right, below, across = weights[0], weights[1], weights[2], weights[3]
    for i in range(len(column)):
        nearest[i] = _before(column[i]) * _before(row[i])
    for i in range(len(column)):
        right[i] = _after(column[i]) * _before(row[i])
    for i in range(len(column)):
        below[i] = _before(column[i]) * _after(row[i])
    for i in range(len(column)):
        across[i] = _after(column[i]) * _after(row[i])


@part
def _find(column: Image, row: Image, height: int, width: int, corners: Image) -> None:
    """Write where the four pixels around each place are; those beyond the border, which weigh nothing, are within it."""
    for corner in range(4):
        own, beside, below = corners[corner], np.int32(corner % 2), np.int32(corner // 2)
        last, end, step = np.int32(width - 1), np.int32(height - 1), np.int32(width)
        for i in range(len(column)):
            line, place = min(np.int32(row[i]) + below, end), min(np.int32(column[i]) + beside, last)
            own[i] = np.uint32(line * step + place)


@part
def _gather(image: Image, corners: Image, weights: Image, red: Image, green: Image, blue: Image) -> None:
    """Add the four pixels around each place by their weights."""
    first, second, third = image[0], image[1], image[2]
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    e, f, g, h = weights[0], weights[1], weights[2], weights[3]
    for i in range(len(red)):
        p, q, r, s, t, u, v, w = a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i]
        red[i] = fma(first[s], w, fma(first[r], v, fma(first[q], u, first[p] * t)))
        green[i] = fma(second[s], w, fma(second[r], v, fma(second[q], u, second[p] * t)))
        blue[i] = fma(third[s], w, fma(third[r], v, fma(third[q], u, third[p] * t)))


@compiled
def _resize(image: Image, across: Image, down: Image, out: Image) -> None:
    """Sample an image (3, h, w) at rows and columns. What a line gives for the columns is kept for the next row."""
    height, width = image.shape[1:]
    left, right = np.empty(width, np.uint32), np.empty(width, np.uint32)
    before, after = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(width):
        place = _place(across[i], *_ends(width))
        first = np.floor(place)
        left[i] = np.uint32(first)
        right[i] = np.uint32(min(np.int64(first) + 1, width - 1))
        after[i] = place - first
        before[i] = (first + np.float32(1)) - place
    lines, known = np.empty((2, 2, width), np.float32), np.empty(2, np.int64)
    for c in range(3):
        plane = image[c]
        known[0] = known[1] = -1
        for row in range(height):
            place = _place(down[row], *_ends(height))
            first = np.floor(place)
            top = np.int64(first)
            bottom, low, high = min(top + 1, height - 1), place - first, (first + np.float32(1)) - place
            for wanted in (top, bottom):
                if known[wanted % 2] != wanted:
                    known[wanted % 2] = wanted
                    _pick(plane[wanted], left, lines[wanted % 2, 0])
                    _pick(plane[wanted], right, lines[wanted % 2, 1])
            a, b, d, e = lines[top % 2, 0], lines[top % 2, 1], lines[bottom % 2, 0], lines[bottom % 2, 1]
            own = out[c, row]
            for i in range(len(own)):
                upper = fma(b[i], after[i] * high, a[i] * (before[i] * high))
                own[i] = fma(e[i], after[i] * low, fma(d[i], before[i] * low, upper))


@part
def _pick(line: Image, places: Image, out: Image) -> None:
    """Write the elements of a line at places."""
    for i in range(len(out)):
        out[i] = line[places[i]]
