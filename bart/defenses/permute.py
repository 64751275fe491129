"""The one thing that moves whole stacks: what a round left, clipped to [0, 1] and put into the order of the next one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import dispatch
from bart.autograd import clip
from bart.cpu_kernels import clip as cpu_clip


class Arrangement(NamedTuple):
    """An order of a stack and its inverse, (n,) int64 each: new[i] = old[gather[i]], old[j] = new[scatter[j]]."""

    gather: Tensor
    scatter: Tensor


class _Permute(torch.autograd.Function):
    """The backward pass is a gather too, where autograd's would be a scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        ctx.save_for_backward(scatter)
        return x.index_select(0, gather)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (scatter,) = ctx.saved_tensors
        return gradient.index_select(0, scatter), None, None


class _OnHost(torch.autograd.Function):
    """Clip and permutation at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        y, inside = cpu_clip.clipped(x, 0.0, 1.0, gather)
        ctx.save_for_backward(inside, scatter)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return cpu_clip.masked(gradient, *ctx.saved_tensors), None, None


def arrange(x: Tensor, arrangement: Arrangement) -> Tensor:
    """clip(x)[gather], with the derivative of `bart.autograd.clip`."""
    if dispatch.available(x):
        from bart.gpu_kernels.common.permute import arrange

        return arrange(x, *arrangement)
    if cpu_clip.fits(x):
        return _OnHost.apply(x, *arrangement)
    return _Permute.apply(clip(x), *arrangement)
