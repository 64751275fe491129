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


class Yuv(torch.autograd.Function):
    """Shift images (n, 3, h, w) float32 by offsets (n, 3) in YUV, with Y clipped to [0, 1], by two matrices (3, 3)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, forth: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(x, offsets, forth, back)
        return _run(_yuv, offsets, x, forth.numpy(), back.contiguous().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, offsets, forth, back = ctx.saved_tensors
        transposed = (matrix.mT.contiguous().numpy() for matrix in (forth, back))
        return _run(_yuv_backward, offsets, x, gradient, forth.numpy()[0].copy(), *transposed), None, None, None


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
def _mix(matrix: Image, red: Image, green: Image, blue: Image, first: Image, second: Image, third: Image) -> None:
    """Multiply pixels by a matrix."""
    for c in range(3):
        own, a, b, d = first if c == 0 else second if c == 1 else third, matrix[c, 0], matrix[c, 1], matrix[c, 2]
        for i in range(len(own)):
            own[i] = red[i] * a + green[i] * b + blue[i] * d


@compiled
def _yuv(offset: Image, x: Image, forth: Image, back: Image, out: Image) -> None:
    """Convert, shift, clip Y and convert back."""
    yuv = np.empty((3, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        y, u, v = yuv[0, : end - start], yuv[1, : end - start], yuv[2, : end - start]
        _mix(forth, x[0, start:end], x[1, start:end], x[2, start:end], y, u, v)
        for i in range(len(y)):
            value = y[i] + offset[0]
            y[i] = np.float32(0) if value < np.float32(0) else np.float32(1) if value > np.float32(1) else value
        for i in range(len(u)):
            u[i] += offset[1]
        for i in range(len(v)):
            v[i] += offset[2]
        _mix(back, y, u, v, out[0, start:end], out[1, start:end], out[2, start:end])


@compiled
def _yuv_backward(offset: Image, x: Image, gradient: Image, luma: Image, forth: Image, back: Image, out: Image) -> None:
    """Differentiate: `luma` is the first row of the matrix of `_yuv`; `forth` and `back` are its matrices, transposed."""
    yuv, a, b, d, shift = np.empty((3, CHUNK), np.float32), luma[0], luma[1], luma[2], offset[0]
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        red, green, blue = x[0, start:end], x[1, start:end], x[2, start:end]
        y, u, v = yuv[0, : end - start], yuv[1, : end - start], yuv[2, : end - start]
        _mix(back, gradient[0, start:end], gradient[1, start:end], gradient[2, start:end], y, u, v)
        for i in range(len(y)):
            value = red[i] * a + green[i] * b + blue[i] * d + shift
            y[i] = y[i] * np.float32(value >= np.float32(0) and value <= np.float32(1))
        _mix(forth, y, u, v, out[0, start:end], out[1, start:end], out[2, start:end])


@compiled
def _round(scale: Image, x: Image, out: Image) -> None:
    """Round the channels of an image to whole numbers of its scales."""
    for c in range(3):
        own, target, factor = x[c], out[c], scale[c]
        for i in range(len(own)):
            target[i] = np.rint(own[i] * factor) / factor
