"""The one thing that moves whole stacks: what a round left, clipped to [0, 1] and put into the order of the next one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import kernels
from bart.backward import clip


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


def arrange(x: Tensor, arrangement: Arrangement) -> Tensor:
    """clip(x)[gather], with the derivative of `bart.backward.clip`."""
    if kernels.available(x):
        from bart.kernels.arrange import arrange

        return arrange(x, *arrangement)
    return _Permute.apply(clip(x), *arrangement)
