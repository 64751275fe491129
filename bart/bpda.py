"""Backward-pass differentiable approximation (Athalye, Carlini, Wagner, ICML 2018): the true value, another gradient."""

import torch
from torch import Tensor

from bart.backward import straight_through
from bart.types import Gradient, Params, Transform


def identity(transform: Transform, x: Tensor, params: Params) -> Tensor:
    """`transform.apply(x, params)` with the identity as its derivative."""
    with torch.no_grad():
        y = transform.apply(x, params)
    return straight_through(x, y)


def combo(transform: Transform, x: Tensor, params: Params) -> Tensor:
    """Autograd where `apply` has a gradient of its own (exact or surrogate), else the identity. The default policy."""
    return identity(transform, x, params) if transform.gradient is Gradient.NONE else transform.apply(x, params)


POLICIES = {"combo": combo, "identity": identity}
"""Gradient policies by the name that a campaign file uses: (transform, x, params) -> y."""
