"""Apply barrages as one function with a derivative."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bart import rng
from bart.gpu_kernels.barrage import graphs
from bart.gpu_kernels.barrage.passes import Pass
from bart.gpu_kernels.barrage.plan import Barrage, Plan, planned


class _Applied(torch.autograd.Function):
    """Take a stack through its barrages: the only node of autograd, whatever is drawn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Pass | graphs.Lent) -> Tensor:
        ctx.made = made
        return made.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.made.backward(gradient), None


def barrage(x: Tensor, barrage: Barrage, keys: rng.Mirror, orders: rng.Mirror, plainly: bool) -> Tensor:
    """Return the images x (n, 3, h, w) or (n, 1, h, w) in [0, 1] after their barrages, without a wait for the device.

    keys, orders    one per image: of the parameters, and of the transforms and their order
    plainly         whether all transforms have the derivative of the identity
    """
    graded = torch.is_grad_enabled() and x.requires_grad
    selected = barrage.select(orders.host)
    plan = planned(barrage, x, graded, plainly, selected)
    if graphs.records(x):
        made = graphs.pass_of(plan, keys.device, orders.device)
    else:
        made = Pass(plan.exact(plan.counted(selected)), keys.device, orders.device)
    y: Tensor = _Applied.apply(x, made) if graded else made.forward(x)
    return y


def plan_of(x: Tensor, barrage: Barrage, orders: rng.Mirror, plainly: bool) -> Plan:
    """Return what `barrage` launches for these images if a gradient is asked for; arguments as there."""
    return planned(barrage, x, True, plainly, barrage.select(orders.host))
