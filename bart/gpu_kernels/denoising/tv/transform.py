"""Denoise images by total variation: Chambolle's iterations forward, lagged diffusivity backward."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bart.gpu_kernels.denoising.tv.derivative import diffuse
from bart.gpu_kernels.denoising.tv.solver import solve
from bart.types import Params


class _Denoise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, per_channel: Tensor) -> Tensor:
        u = solve(x, weight, per_channel)
        ctx.save_for_backward(u, weight, per_channel)
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return diffuse(gradient.contiguous(), *ctx.saved_tensors), None, None


def tv_chambolle(x: Tensor, params: Params) -> Tensor:
    """Return `bart.transforms.denoising.tv.apply(x, params)`."""
    return _Denoise.apply(x, params["weight"], params["per_channel"])
