"""Find every tensor that a network holds: also those that are neither parameters nor buffers.

Code of others keeps weights as plain attributes, in lists and dictionaries, in modules that are no children, or packed, as
quantised layers do. Such weights decide logits as all others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pipeline.errors import BadInput, one_line

NUMBERS = "biufc"
"""The kinds of NumPy arrays that hold numbers."""

OF_TORCH = frozenset(vars(nn.Module()))
"""The attributes by which torch keeps books of a module: children, parameters, hooks."""

Seen = dict[int, Any]
"""What was met, by its id. It is kept alive, so that nothing else gets the id."""


def held(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the tensors of a network with their names: parameters and buffers, then all others, in the order of names.

    What a hook computes from them before each pass, as for weight normalisation, is left out: it rounds differently
    elsewhere. Raises BadInput for a network that can't tell them.
    """
    return _held(network, {})


def _held(network: nn.Module, seen: Seen) -> list[tuple[str, Tensor]]:
    """Return the tensors of a network that were not met before."""
    plain = dict(network.named_parameters()) | dict(network.named_buffers())
    seen |= {id(each): each for each in (*plain.values(), *network.modules())}
    others: dict[str, Tensor] = {}
    for prefix, module in network.named_modules():
        computed = {getattr(hook, "name", getattr(hook, "_tensor_name", "")) for hook in module._forward_pre_hooks.values()}
        for name, value in vars(module).items():
            if name not in computed | OF_TORCH:
                others |= _inside(value, f"{prefix}.{name}", seen)
    named = {name for name, _ in network.named_parameters(remove_duplicate=False)} | {*plain}
    for name, value in _stored(network).items():
        if name not in named:
            others |= _inside(value, f"stored.{name}", seen)
    return [*sorted(plain.items()), *sorted(others.items())]


def _stored(network: nn.Module) -> dict[str, Any]:
    """Return what a network would write into a file, with what its layers pack for that. Raises BadInput."""
    try:
        return dict(network.state_dict())
    except Exception as error:  # the modules of strangers may raise anything
        kind = type(network).__name__
        raise BadInput(f"state_dict() of {kind} raised {one_line(error)}: mend that, weights are checked by it") from None


def _inside(value: Any, name: str, seen: Seen) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in attributes, lists, dictionaries and modules, each once, with the names of the way to them."""
    if isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS:
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor | nn.Module | Mapping | list | tuple) or id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from ((f"{name}.{part}", tensor) for part, tensor in _held(value, seen))
    else:
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in parts:
            yield from _inside(part, f"{name}.{key}", seen)


def as_bytes(tensor: Tensor, name: str) -> memoryview:
    """Return the values of a tensor, whatever its layout and wherever it is, as bytes of a plain one. Raises BadInput."""
    try:
        if is_lazy(tensor) or tensor.is_meta:
            raise ValueError("it holds no numbers yet")
        plain = tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()
        plain = plain.dequantize() if plain.is_quantized else plain.resolve_conj().resolve_neg()
        return plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    except Exception as error:  # the tensors of strangers may refuse anything
        raise BadInput(f"{name} can't be read ({one_line(error)}): make it a plain tensor that holds its numbers") from None
