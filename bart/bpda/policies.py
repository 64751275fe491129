"""Define gradient policies: the transform's true value with a chosen derivative (BPDA: Athalye, Carlini, Wagner, ICML 2018).

A policy is (transform, x, params, networks) -> y, for x and y (n, 3, h, w). y is the value of `transform.unclipped(x, params)`,
bit for bit; its derivative is the policy's. The barrage clips y, which has a derivative of its own. `networks` holds a
`bart.bpda.network.BpdaNet` for some transforms, by name.
"""

from collections.abc import Collection, Mapping
from functools import partial
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
"""No networks."""


def identity(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """Return the transformed images with the identity as the derivative."""
    with torch.no_grad():
        y = transform.unclipped(x, params)
    return straight_through(x, y)


def network(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """Return the transformed images with the network's derivative, at the same `x` and the same parameters.

    Raises ValueError if no network for the transform.
    """
    if transform.name not in networks:
        raise ValueError(f"policy network: no network for {transform.name}: train one, or use the policy combo")
    with torch.no_grad():
        y = transform.unclipped(x, params)
    conditioning = transform.conditioning(params, (x.shape[-2], x.shape[-1]))
    imitated: Tensor = _Imitated.apply(x, y, conditioning, networks[transform.name])
    return imitated


def combo(transform: Transform, x: Tensor, params: Params, networks: Networks = NONE) -> Tensor:
    """Return the transformed images with the best derivative there is. This is the default policy.

    It is autograd if `apply` has a gradient of its own (exact or surrogate), else the network's if there is one, else the
    identity. Where all three exist, Sitawarin et al., ICML 2022, find exact > identity > network.
    """
    if transform.gradient is not Gradient.NONE:
        return transform.unclipped(x, params)
    return (network if transform.name in networks else identity)(transform, x, params, networks)


def without_networks(policy: Any, transforms: Collection[Transform]) -> str | None:
    """Return the name of a policy that needs no network for these transforms: "combo" or "identity"; None for any other."""
    function, networks = policy, NONE
    if isinstance(policy, partial) and not policy.args:
        function, networks = policy.func, policy.keywords.get("networks", NONE)
    if function is combo and any(t.gradient is Gradient.NONE and t.name in networks for t in transforms):
        return None
    return {combo: "combo", identity: "identity"}.get(function)


POLICIES = {"combo": combo, "identity": identity, "network": network}
"""Gradient policies by the name that a campaign file uses."""


AT_ONCE = 32
"""Images that go through a network together: about 150 MB each at 224 px, which is freed before the next ones."""


class _Imitated(torch.autograd.Function):
    """Return `y` with the network's derivative. Its forward pass is computed in `backward`, so that none of it is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, conditioning: Tensor, net: BpdaNet) -> Tensor:
        ctx.save_for_backward(x, conditioning)
        ctx.net = net
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        parts = [
            _product(ctx.net, *piece) for piece in zip(*(t.split(AT_ONCE) for t in (*ctx.saved_tensors, gradient)), strict=True)
        ]
        return torch.cat(parts), None, None, None


def _product(net: BpdaNet, x: Tensor, conditioning: Tensor, gradient: Tensor) -> Tensor:
    """Return the vector-Jacobian product of a network at `x` (n, 3, h, w) with `gradient` (n, 3, h, w)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        imitation = net(leaf, conditioning)
    return torch.autograd.grad(imitation, leaf, gradient)[0]


def checked(networks: Networks) -> Networks:
    """Return the networks if they can be used.

    Raises ValueError for an unknown transform, another P(t), or a network in train mode. In train mode images of a batch would
    change each other's gradients.
    """
    for name, net in networks.items():
        if net.parameter_count != parameter_count(name):
            raise ValueError(f"network of {name}: it takes {net.parameter_count} parameters, expected {parameter_count(name)}")
        if net.training:
            raise ValueError(f"network of {name} is in train mode: call its eval() first")
    return networks


def complete(policy: str, networks: Collection[str], transforms: tuple[str, ...]) -> None:
    """Raise ValueError if a policy lacks a network that an attack on these transforms needs."""
    missing = [name for name in transforms if name not in networks] if policy == "network" else []
    if missing:
        raise ValueError(f"policy network: no network for {', '.join(missing)}: train them, or use the policy combo")
