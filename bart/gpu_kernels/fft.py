"""Filter spectra: one kernel multiplies the half spectrum by its gains, in place, between torch's two real transforms.

The gains of a coefficient are computed where they are needed; except for the removed band they are the same for the three
channels. A program processes a run of coefficients of one image. The gains are real and the same for k and -k, so the whole
operator is symmetric, and the backward pass is the forward pass of the gradient.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.fields import field
from bart.types import Params

BLOCK = 512
"""Coefficients of a program."""


@triton.jit
def _kept(k, keep, side):
    """Return whether frequency k of a side remains, in float64: float32 would truncate to other integers than Python's."""
    return (k < tl.floor(keep * side).to(tl.int32)) | (k >= tl.floor((1 - keep) * side).to(tl.int32))


@triton.jit
def _gains_kernel(spectrum, keeps, seeds, height, width, BLOCK: tl.constexpr):
    """Multiply `spectrum` (n, 3, height, width // 2 + 1, 2) in place; program (image, run of coefficients)."""
    half = width // 2 + 1
    size = height * half
    runs = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // runs).to(tl.int64)
    place = tl.program_id(0) % runs * BLOCK + tl.arange(0, BLOCK)
    row, column = place // half, place % half
    row_mirrored, column_mirrored = (height - row) % height, (width - column) % width  # of -k

    seed = tl.load(seeds + image)
    unit = 0.5 / (height * width).to(tl.float32)  # the mean of k and -k, and the inverse transform's factor
    gain = (field(seed, 0, row * width + column) * 0.04 + 0.98) * unit
    gain_mirrored = (field(seed, 0, row_mirrored * width + column_mirrored) * 0.04 + 0.98) * unit
    for channel in tl.static_range(3):
        keep = tl.load(keeps + image * 3 + channel).to(tl.float64)
        kept = _kept(row, keep, height) & _kept(column, keep, width)
        kept_mirrored = _kept(row_mirrored, keep, height) & _kept(column_mirrored, keep, width)
        factor = tl.where(kept, gain, 0.0) + tl.where(kept_mirrored, gain_mirrored, 0.0)
        there = spectrum + (image * 3 + channel) * size * 2 + place[:, None] * 2 + tl.arange(0, 2)[None, :]
        inside = (place < size)[:, None]
        value = tl.load(there, mask=inside & (factor > 0)[:, None], other=0.0)  # removed coefficients are not read
        tl.store(there, value * factor[:, None], mask=inside)


def _filter(x: Tensor, keep: Tensor, seed: Tensor) -> Tensor:
    """Filter contiguous images."""
    n, _, height, width = x.shape
    spectrum = torch.fft.rfft2(x).contiguous()
    programs = n * triton.cdiv(height * (width // 2 + 1), BLOCK)
    launcher.launch(_gains_kernel, programs, torch.view_as_real(spectrum), keep, seed, height, width, BLOCK=BLOCK, num_warps=4)
    y: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="forward")  # does not scale
    return y


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, seed: Tensor) -> Tensor:
        ctx.save_for_backward(keep, seed)
        return _filter(x, keep, seed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _filter(gradient.contiguous(), *ctx.saved_tensors), None, None


def fft(x: Tensor, params: Params) -> Tensor:
    """Return `bart.transforms.fft.apply(x, params)`."""
    y: Tensor = _Filter.apply(x, params["keep"], params["seed"])
    return y
