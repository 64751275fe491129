"""Round colours to levels and shift them on a CPU, compiled, one image at a time, with the bits of eager PyTorch.

What lies between input and output, and between a gradient and the image's, is computed in parts of an image that stay in the
first-level cache. Each loop writes one line: only such a loop becomes vector instructions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each
from bart.cpu_kernels.compiling import compiled, part
from bart.cpu_kernels.hsv import hsv, hsv_backward
from bart.cpu_kernels.lab import lab, lab_backward

CHUNK = 2048
"""Pixels that are computed together."""


class Hsv(torch.autograd.Function):
    """Shift images (n, 3, h, w) float32 by offsets (n, 3) in HSV, clipped to [0, 1] there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(x, offsets)
        return _run(hsv, offsets, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, offsets = ctx.saved_tensors
        return _run(hsv_backward, offsets, x, gradient), None


class Mixed(torch.autograd.Function):
    """Shift images (n, 3, h, w) float32 by offsets (n, 3) in a space to and from which two matrices (3, 3) lead.

    Clips them there to bounds (2, 3).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, forth: Tensor, back: Tensor, bounds: Tensor) -> Tensor:
        ctx.save_for_backward(x, offsets, forth, back, bounds)
        return _run(_mixed, offsets, x, *map(_matrix, (bounds, forth, back)))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, offsets, forth, back, bounds = ctx.saved_tensors
        matrices = map(_matrix, (bounds, forth, forth.mT, back.mT))
        return _run(_mixed_backward, offsets, x, gradient, *matrices), None, None, None, None


class Grey(torch.autograd.Function):
    """Multiply the pixels of images (n, 3, h, w) float32 by a matrix of each image, (n, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(matrices)
        return _run(_product, matrices, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _run(_product, ctx.saved_tensors[0].mT, gradient), None


class Lab(torch.autograd.Function):
    """Shift roots of XYZ / white (n, 3, h, w) float32 by offsets (n, 3) in LAB, with L clipped to [0, 100], and return XYZ."""

    @staticmethod
    def forward(ctx: Any, roots: Tensor, offsets: Tensor, white: Tensor) -> Tensor:
        ctx.save_for_backward(roots, offsets, white)
        return _run(lab, offsets, roots, _matrix(white))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        roots, offsets, white = ctx.saved_tensors
        return _run(lab_backward, offsets, roots, gradient, _matrix(white)), None, None


def _matrix(x: Tensor) -> Image:
    """Return a matrix whose rows lie in memory one after the other."""
    matrix: Image = x.contiguous().numpy()
    return matrix


def rounded(x: Tensor, scales: Tensor) -> Tensor:
    """Return round(x s) / s of images (n, 3, h, w) float32, with s (n, 3)."""
    return _run(_round, scales, x)


def _run(kernel: Callable[..., None], values: Tensor, *given: Any) -> Tensor:
    """Return `kernel(values, *given, out)` of each image, with tensors among `given` as lines (3, pixels)."""
    out = torch.empty_like(given[0], memory_format=torch.contiguous_format)
    numbers, targets = values.detach().contiguous().numpy(), _lines(out)
    stacks = [(_lines(x), True) if isinstance(x, Tensor) else (x, False) for x in given]
    each(lambda i: kernel(numbers[i], *(x[i] if many else x for x, many in stacks), targets[i]), len(out))
    return out


def _lines(x: Tensor) -> Image:
    """Return images as NumPy's (n, 3, pixels)."""
    lines: Image = x.detach().contiguous().view(len(x), 3, x.shape[2] * x.shape[3]).numpy()
    return lines


@part
def mix(matrix: Image, red: Image, green: Image, blue: Image, first: Image, second: Image, third: Image) -> None:
    """Multiply pixels by a matrix. A sum begins with 0, so that one of nothing but -0 is 0, as PyTorch's is."""
    for c in range(3):
        own, a, b, d = first if c == 0 else second if c == 1 else third, matrix[c, 0], matrix[c, 1], matrix[c, 2]
        for i in range(len(own)):
            own[i] = np.float32(0) + red[i] * a + green[i] * b + blue[i] * d


@compiled
def _product(matrix: Image, x: Image, out: Image) -> None:
    """Multiply the pixels of an image by a matrix, in one pass, as `mix` does it line by line."""
    red, green, blue = x[0], x[1], x[2]
    first, second, third = out[0], out[1], out[2]
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    d, e, f = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    g, h, k = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    for i in range(len(red)):
        own, middle, last = red[i], green[i], blue[i]
        first[i] = np.float32(0) + own * a + middle * b + last * c
        second[i] = np.float32(0) + own * d + middle * e + last * f
        third[i] = np.float32(0) + own * g + middle * h + last * k


@compiled
def _mixed(offset: Image, x: Image, bounds: Image, forth: Image, back: Image, out: Image) -> None:
    """Convert, shift, clip and convert back."""
    lines = np.empty((3, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        first, second, third = lines[0, : end - start], lines[1, : end - start], lines[2, : end - start]
        mix(forth, x[0, start:end], x[1, start:end], x[2, start:end], first, second, third)
        for c in range(3):
            own, shift, low, high = lines[c, : end - start], offset[c], bounds[0, c], bounds[1, c]
            for i in range(len(own)):
                value = own[i] + shift
                own[i] = low if value < low else high if value > high else value
        mix(back, first, second, third, out[0, start:end], out[1, start:end], out[2, start:end])


@compiled
def _mixed_backward(
    offset: Image, x: Image, gradient: Image, bounds: Image, matrix: Image, forth: Image, back: Image, out: Image
) -> None:
    """Differentiate: `matrix` leads to the space; `forth` and `back` are the matrices of `_mixed`, transposed."""
    lines = np.empty((3, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        red, green, blue = x[0, start:end], x[1, start:end], x[2, start:end]
        first, second, third = lines[0, : end - start], lines[1, : end - start], lines[2, : end - start]
        mix(back, gradient[0, start:end], gradient[1, start:end], gradient[2, start:end], first, second, third)
        for c in range(3):
            own, shift, low, high = lines[c, : end - start], offset[c], bounds[0, c], bounds[1, c]
            if high < np.inf:
                a, b, d = matrix[c, 0], matrix[c, 1], matrix[c, 2]
                for i in range(len(own)):
                    value = red[i] * a + green[i] * b + blue[i] * d + shift
                    own[i] = own[i] * np.float32(value >= low and value <= high)
        mix(forth, first, second, third, out[0, start:end], out[1, start:end], out[2, start:end])


@compiled
def _round(scale: Image, x: Image, out: Image) -> None:
    """Round the channels of an image to whole numbers of its scales."""
    for c in range(3):
        own, target, factor = x[c], out[c], scale[c]
        for i in range(len(own)):
            target[i] = np.rint(own[i] * factor) / factor
