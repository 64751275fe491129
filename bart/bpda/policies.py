"""Backward-pass differentiable approximation (Athalye, Carlini, Wagner, ICML 2018): the true value, another gradient.

A policy is (transform, x, params, networks) -> y: the value of `transform.apply(x, params)`, bit for bit, x and y (n, 3, h, w),
with the derivative that the policy stands for. `networks` holds a `bart.bpda.network.BpdaNet` of some transforms, by name.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bart.autograd import straight_through
from bart.bpda.network import BpdaNet, parameter_count
from bart.types import Gradient, Params, Transform

Networks = Mapping[str, BpdaNet]
"""Trained networks by the name of the transform that each imitates, in eval mode and on the device of the images."""

NONE: Networks = MappingProxyType({})


def identity(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """The identity as the derivative."""
    with torch.no_grad():
        y = transform.apply(x, params)
    return straight_through(x, y)


def network(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """The network's derivative at the same `x` and the same parameters. Raises ValueError where there is none."""
    if transform.name not in networks:
        raise ValueError(f"policy network: there is no network for {transform.name}: train one, or use the policy combo")
    with torch.no_grad():
        y = transform.apply(x, params)
    told = transform.conditioning(params, (x.shape[-2], x.shape[-1]))
    imitated: Tensor = _Imitated.apply(x, y, told, networks[transform.name])
    return imitated


def combo(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """Autograd where `apply` has a gradient of its own (exact or surrogate), else the network's where there is one, else the
    identity. The default policy. Where all three exist, Sitawarin et al., ICML 2022, find exact > identity > network."""
    if transform.gradient is not Gradient.NONE:
        return transform.apply(x, params)
    return (network if transform.name in networks else identity)(transform, x, params, networks)


POLICIES = {"combo": combo, "identity": identity, "network": network}
"""Gradient policies by the name that a campaign file uses."""


AT_ONCE = 32
"""Images that go through a network together: some 150 MB each at 224 px, which is freed before the next ones come."""


class _Imitated(torch.autograd.Function):
    """The value of `y` with the network's derivative. Its forward pass is made in backward, so that none of it is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, told: Tensor, net: BpdaNet) -> Tensor:
        ctx.save_for_backward(x, told)
        ctx.net = net
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        parts = [
            _product(ctx.net, *some) for some in zip(*(t.split(AT_ONCE) for t in (*ctx.saved_tensors, gradient)), strict=True)
        ]
        return torch.cat(parts), None, None, None


def _product(net: BpdaNet, x: Tensor, told: Tensor, gradient: Tensor) -> Tensor:
    """The vector-Jacobian product of a network at `x` (n, 3, h, w)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        imitation = net(leaf, told)
    return torch.autograd.grad(imitation, leaf, gradient)[0]


def checked(networks: Networks) -> Networks:
    """The networks, if they can be used. Raises ValueError for one of an unknown transform, of another P(t), or in train mode,
    where images of a batch would change each other's gradients."""
    for name, net in networks.items():
        if net.parameter_count != parameter_count(name):
            raise ValueError(
                f"network of {name}: it is told {net.parameter_count} parameters, expected {parameter_count(name)}"
            )
        if net.training:
            raise ValueError(f"network of {name} is in train mode: call its eval() first")
    return networks


def complete(policy: str, networks: Collection[str], transforms: tuple[str, ...]) -> None:
    """Raises ValueError where a policy lacks a network that an attack on these transforms will need."""
    missing = [name for name in transforms if name not in networks] if policy == "network" else []
    if missing:
        raise ValueError(f"policy network: there is no network for {', '.join(missing)}: train them, or use the policy combo")
