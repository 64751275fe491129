"""Clip a whole stack to [0, 1] and put it into another order, in one pass: what happens between the rounds of a barrage."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import dispatch
from bart.autograd import clip
from bart.cpu_kernels import clip as cpu_clip


class Permutation(NamedTuple):
    """Hold an order of a stack and its inverse, (n,) int64 each: new[i] = old[gather[i]], old[j] = new[scatter[j]]."""

    gather: Tensor
    scatter: Tensor


class _Permute(torch.autograd.Function):
    """Reorder a stack. The backward pass is a gather too, where autograd's would be a slower scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        ctx.save_for_backward(scatter)
        return x.index_select(0, gather)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (scatter,) = ctx.saved_tensors
        return gradient.index_select(0, scatter), None, None


class _ClipAndPermute(torch.autograd.Function):
    """Clip and reorder on a CPU in one compiled pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        y, inside = cpu_clip.clipped(x, 0.0, 1.0, gather)
        ctx.save_for_backward(inside, scatter)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return cpu_clip.masked(gradient, *ctx.saved_tensors), None, None


def clip_and_permute(x: Tensor, permutation: Permutation) -> Tensor:
    """Return clip(x)[gather] of a stack (n, c, h, w), with the derivative of `bart.autograd.clip`."""
    if dispatch.available(x):
        from bart.gpu_kernels.common.permute import clip_and_permute

        return clip_and_permute(x, *permutation)
    if cpu_clip.fits(x):
        return _ClipAndPermute.apply(x, *permutation)
    return _Permute.apply(clip(x), *permutation)
