"""Call a function of the user that makes a model, and bring the model to the form in which it is evaluated."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

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
    if isinstance(network, torch.jit.ScriptModule):
        raise BadInput(f"architecture {architecture} returned {type(network).__name__}: give a plain torch module, no script")
    network, compiled = _eager(network)
    _forget_computed(network)
    changes = ["without its compiler"] if compiled else []
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


def _eager(network: nn.Module) -> tuple[nn.Module, bool]:
    """Return a network whose modules run without a compiler, and whether any had one."""
    compiled = False
    while isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
        network, compiled = inner, True
    for module in network.modules():
        if module._compiled_call_impl is not None:  # by nn.Module.compile
            module._compiled_call_impl, compiled = None, True
        if hasattr(module.__dict__.get("forward"), "_torchdynamo_orig_callable"):
            del module.forward  # that of its class is left
            compiled = True
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            inner, had = _eager(child) if hasattr(child, "_orig_mod") else (child, False)
            if had:
                setattr(parent, name, inner)
                compiled = True
    return network, compiled


def _forget_computed(network: nn.Module) -> None:
    """Cut what weights were computed from, as by weight normalisation or pruning: such tensors cannot be copied."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
