"""Blur planes by windows of their own on a CPU, compiled, with the bits of `bart.transforms.denoising.gaussian`.

PyTorch's convolution adds the terms of a window one after the other, each product and sum rounded once; so do these loops.
Weights of zero at the ends of a window add nothing, and are left out. Planes are flat lines with a margin, where the next row
is a step along the line.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart.cpu_kernels.base import Image, each
from bart.cpu_kernels.compiling import compiled, fma

CHUNK = 4096
"""Entries of a line that are computed together, so that they stay in the first-level cache."""


class Blur(torch.autograd.Function):
    """Blur planes (m, h, w) float32, the border repeated outwards, each by its window (m, 2 reach + 1), down and across."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, windows: Tensor) -> Tensor:
        ctx.save_for_backward(windows)
        out = torch.empty_like(planes, memory_format=torch.contiguous_format)
        sources, weights, targets = planes.detach().numpy(), windows.numpy(), out.numpy()
        each(lambda i: _blur(sources[i], _taps(weights[i]), targets[i]), len(out))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (windows,) = ctx.saved_tensors
        for axis in (1, 0):
            gradient = _folded(_spread(gradient, windows, axis), axis + 1, windows.shape[1] // 2)
        return gradient, None


def _taps(window: Image) -> Image:
    """Return a window without the zeros at its ends."""
    inside = np.flatnonzero(window)
    return window[inside[0] : inside[-1] + 1]


def _blur(plane: Image, taps: Image, out: Image) -> None:
    """Blur a plane."""
    (height, width), margin = plane.shape, len(taps) // 2
    down = np.empty_like(plane)
    high = np.empty((height + 2 * margin, width), np.float32)
    high[:margin], high[margin : margin + height], high[margin + height :] = plane[0], plane, plane[-1]
    _sum(high.reshape(-1), 0, width, taps, down.reshape(-1))
    wide = np.empty((height, width + 2 * margin), np.float32)
    wide[:, :margin], wide[:, margin : margin + width], wide[:, margin + width :] = down[:, :1], down, down[:, -1:]
    across = np.empty_like(wide)
    _sum(wide.reshape(-1), 0, 1, taps, across.reshape(-1)[: wide.size - 2 * margin])
    out[:] = across[:, :width]


def _spread(planes: Tensor, windows: Tensor, axis: int) -> Tensor:
    """Return the transpose of a blur along an axis of the planes, with what falls on the repeated border."""
    shape, reach = list(planes.shape), windows.shape[1] // 2
    shape[axis + 1] += 2 * reach
    out = torch.zeros(shape, dtype=torch.float32, device="cpu")
    sources, weights, targets = planes.detach().numpy(), windows.numpy(), out.numpy()

    def one(i: int) -> None:
        source, target = sources[i], targets[i]
        taps = _taps(weights[i])
        margin, (height, width) = len(taps) // 2, source.shape
        if axis == 0:
            line = np.zeros((height + 4 * margin, width), np.float32)
            line[2 * margin : 2 * margin + height] = source
            inner = target[reach - margin : reach + height + margin]
            _sum(line.reshape(-1), 2 * margin * width, -width, taps, inner.reshape(-1))
        else:
            line = np.zeros((height, width + 4 * margin), np.float32)
            line[:, 2 * margin : 2 * margin + width] = source
            total = np.empty_like(line)
            _sum(line.reshape(-1), 2 * margin, -1, taps, total.reshape(-1)[: line.size - 2 * margin])
            target[:, reach - margin : reach + width + margin] = total[:, : width + 2 * margin]

    each(one, len(out))
    return out


def _folded(extended: Tensor, dim: int, reach: int) -> Tensor:
    """Return planes without what lies `reach` beyond their border, which is added to the border. Sums are PyTorch's."""
    side = extended.shape[dim] - 2 * reach
    own = extended.narrow(dim, reach, side).clone(memory_format=torch.contiguous_format)
    own.narrow(dim, side - 1, 1).add_(extended.narrow(dim, reach + side, reach).sum(dim, keepdim=True))
    own.narrow(dim, 0, 1).add_(extended.narrow(dim, 0, reach).sum(dim, keepdim=True))
    return own


@compiled
def _sum(line: Image, first: int, step: int, taps: Image, out: Image) -> None:
    """Add the terms taps[k] line[first + k step + i], k upwards."""
    whole = len(taps) - len(taps) % 4
    for start in range(0, len(out), CHUNK):
        own = out[start : start + CHUNK]
        for i in range(len(own)):
            own[i] = np.float32(0)
        for k in range(0, whole, 4):
            place, t, u, v, w = first + start + k * step, taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            a, b, c, d = line[place:], line[place + step :], line[place + 2 * step :], line[place + 3 * step :]
            for i in range(len(own)):
                own[i] = fma(w, d[i], fma(v, c[i], fma(u, b[i], fma(t, a[i], own[i]))))
        for k in range(whole, len(taps)):
            a, t = line[first + start + k * step :], taps[k]
            for i in range(len(own)):
                own[i] = fma(t, a[i], own[i])
