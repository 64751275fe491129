"""Start kernels, with a cached lookup of their code."""

from typing import Any

import torch
from torch import Tensor

_COMPILED: dict[tuple[Any, ...], Any] = {}


def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
    """Queue `programs` programs of a Triton kernel on the device of its tensors. This is the only place where kernels start.

    Triton looks up the code for its arguments at every launch, which takes the host longer than most kernels take the GPU. So
    the result is cached, by everything on which the lookup depends.
    """
    index = next(a for a in arguments if isinstance(a, Tensor)).get_device()
    if index >= 0 and index != torch.cuda.current_device():  # Triton launches on the current device
        with torch.cuda.device(index):
            return launch(kernel, programs, *arguments, **constants)
    key = (id(kernel), index, *map(_kind, arguments), *constants.values())
    if key in _COMPILED:
        _COMPILED[key][(programs, 1, 1)](*arguments, *(constants[name] for name in kernel.arg_names[len(arguments) :]))
        return
    compiled = kernel[(programs,)](*arguments, **constants)
    if compiled is not None:  # None in the interpreter
        _COMPILED[key] = compiled


def cdiv(number: int, size: int) -> int:
    """Return how many pieces of `size` hold `number`. On the host, Triton's own takes ten times as long."""
    return -(-number // size)


def _kind(argument: Any) -> Any:
    """Return what the code depends on: a tensor's type and alignment; whether an integer is 1, a multiple of 16, or long."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    if isinstance(argument, int):
        return argument == 1, argument % 16 == 0, -(2**31) <= argument < 2**31
    return type(argument)
