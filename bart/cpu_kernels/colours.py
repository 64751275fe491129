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
from bart.cpu_kernels.compiling import compiled
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
        return _run(_yuv, offsets, x, forth.numpy(), back.numpy())

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


@compiled
def _mix(x: Image, first: int, matrix: Image, out: Image, to: int, length: int) -> None:
    """Multiply some pixels by a matrix."""
    red, green, blue = x[0, first : first + length], x[1, first : first + length], x[2, first : first + length]
    for c in range(3):
        own, a, b, d = out[c, to : to + length], matrix[c, 0], matrix[c, 1], matrix[c, 2]
        for i in range(len(own)):
            own[i] = red[i] * a + green[i] * b + blue[i] * d


@compiled
def _yuv(offset: Image, x: Image, forth: Image, back: Image, out: Image) -> None:
    """Convert, shift, clip Y and convert back."""
    yuv = np.empty((3, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        length = min(CHUNK, x.shape[1] - start)
        _mix(x, start, forth, yuv, 0, length)
        for c in range(3):
            own, shift = yuv[c, :length], offset[c]
            low, high = (np.float32(0), np.float32(1)) if c == 0 else (np.float32(-np.inf), np.float32(np.inf))
            for i in range(len(own)):
                value = own[i] + shift
                own[i] = low if value < low else high if value > high else value
        _mix(yuv, 0, back, out, start, length)


@compiled
def _yuv_backward(offset: Image, x: Image, gradient: Image, luma: Image, forth: Image, back: Image, out: Image) -> None:
    """Differentiate: `luma` is the first row of the matrix of `_yuv`; `forth` and `back` are its matrices, transposed."""
    yuv, a, b, d, shift = np.empty((3, CHUNK), np.float32), luma[0], luma[1], luma[2], offset[0]
    for start in range(0, x.shape[1], CHUNK):
        length = min(CHUNK, x.shape[1] - start)
        _mix(gradient, start, back, yuv, 0, length)
        red, green, blue = x[0, start : start + length], x[1, start : start + length], x[2, start : start + length]
        own = yuv[0, :length]
        for i in range(len(own)):
            y = red[i] * a + green[i] * b + blue[i] * d + shift
            own[i] = own[i] * np.float32(y >= np.float32(0) and y <= np.float32(1))
        _mix(yuv, 0, forth, out, start, length)


@compiled
def _round(scale: Image, x: Image, out: Image) -> None:
    """Round the channels of an image to whole numbers of its scales."""
    for c in range(3):
        own, target, factor = x[c], out[c], scale[c]
        for i in range(len(own)):
            target[i] = np.rint(own[i] * factor) / factor
