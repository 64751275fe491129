"""Call a function of the user that makes a model, and bring the model to the form in which it is evaluated.

A campaign file may come from a stranger, and then so does the function that it names. So a function runs only if the user
allowed its module by --allow-module or the environment. A campaign file cannot allow it.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from barrage_plugins import PluginError
from barrage_plugins.functions import ANYTHING, function
from pipeline.errors import BadInput, Remark, one_line

PREPROCESSING = "preprocessing"
"""Attribute by which a function says what its model expects, by the keys of the campaign file: {"mean": ..., "std": ...}."""

DEFAULT = torch.float32
"""The precision in which verdicts are computed."""


def function_of(architecture: str) -> Any:
    """Return the function that `package.module:function` names. Raises BadInput if it may not run or does not exist."""
    try:
        return function(architecture, "architecture", "that returns a torch module")
    except PluginError as error:
        raise BadInput(str(error)) from None


def called(architecture: str) -> nn.Module:
    """Return the model that a function makes, in plain single precision on the CPU. Raises BadInput."""
    try:
        made = function_of(architecture)()
    except BadInput:
        raise
    except ANYTHING as error:
        raise BadInput(
            f"architecture {architecture} raised {one_line(error)}: expected a function without arguments that returns a torch "
            "module; try it in Python"
        ) from None
    if not isinstance(made, nn.Module):
        raise BadInput(f"architecture {architecture} returned {type(made).__name__}, expected a torch module")
    return _plain(architecture, made)


def said(architecture: str) -> Mapping[str, Any]:
    """Return the preprocessing that a function says of its model, by the keys of the campaign file; empty if it says none.

    Raises BadInput if that is no mapping.
    """
    found = getattr(function_of(architecture), PREPROCESSING, {})
    if not isinstance(found, Mapping):
        raise BadInput(
            f"{PREPROCESSING} of {architecture} is {found!r}: expected a mapping such as {{'mean': ..., 'std': ...}}"
        )
    return found


def _plain(architecture: str, network: nn.Module) -> nn.Module:
    """Return a network without compiler, in single precision, on the CPU; report what was changed. Raises BadInput."""
    changes = []
    while isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
        network, changes = inner, ["without its compiler"]
    left = next(_left_on(network), None)
    if left:
        raise BadInput(
            f"architecture {architecture}: {left} stays in training mode while the module around it is in eval mode, so the "
            "model is random or depends on its batch, and one draw would judge it: call eval() on the whole model in the "
            "function; randomised models need a defense of their own kind, which barrage does not have yet"
        )
    tensors = [*network.parameters(), *network.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise BadInput(
            f"architecture {architecture} has weights on the meta device, which hold nothing: load them in the function"
        )
    if any(tensor.device.type != "cpu" for tensor in tensors):
        changes.append("moved to each worker's device")
    if odd := {tensor.dtype for tensor in tensors if tensor.is_floating_point()} - {DEFAULT}:
        changes.append(f"in {str(DEFAULT).removeprefix('torch.')} instead of {', '.join(sorted(str(o)[6:] for o in odd))}")
    if changes:
        warnings.warn(f"architecture {architecture} is evaluated {' and '.join(changes)}", Remark, stacklevel=2)
    return network.cpu().to(DEFAULT) if changes else network


def _left_on(network: nn.Module) -> Iterator[str]:
    """Yield the modules that training mode makes random or dependent on the batch, and that are in it by themselves."""
    for parent_name, parent in network.named_modules():
        for name, module in parent.named_children():
            dropping = (isinstance(module, _DropoutNd) and module.p > 0) or "DropPath" in type(module).__name__
            if (dropping or isinstance(module, _BatchNorm)) and module.training and not parent.training:
                yield f"{type(module).__name__} {f'{parent_name}.{name}'.lstrip('.')}"
