"""Call a function of the user that makes a model, and bring the model to the form in which it is evaluated."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pipeline.config.functions import function_of, module_of
from pipeline.errors import BadInput, Remark

WHAT = "architecture"
"""What names the function, in messages."""

PREPROCESSING = "preprocessing"
"""Attribute by which a function says what its model expects, by the keys of the campaign file: {"mean": ..., "std": ...}."""

DEFAULT = torch.float32
"""The precision in which verdicts are computed."""


def called(architecture: str) -> nn.Module:
    """Return the model that a function makes, in plain single precision on the CPU. Raises BadInput."""
    return _plain(architecture, module_of(architecture, WHAT))


def said(architecture: str) -> Mapping[str, Any]:
    """Return the preprocessing that a function says of its model, by the keys of the campaign file; empty if it says none.

    Raises BadInput if that is no mapping.
    """
    found = getattr(function_of(architecture, WHAT), PREPROCESSING, {})
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


def left_on(network: nn.Module, random: bool) -> Iterator[str]:
    """Yield the modules that training mode makes dependent on the batch, or `random`, and that are in it by themselves."""
    for parent_name, parent in network.named_modules():
        for name, module in parent.named_children():
            dropping = (isinstance(module, _DropoutNd) and module.p > 0) or "DropPath" in type(module).__name__
            if (dropping if random else isinstance(module, _BatchNorm)) and module.training and not parent.training:
                yield f"{type(module).__name__} {f'{parent_name}.{name}'.lstrip('.')}"
