"""How kernels start: by a lookup that is kept, since Triton's own takes the host longer than most kernels take the GPU."""

from typing import Any

import torch
from torch import Tensor

_COMPILED: dict[tuple[Any, ...], Any] = {}


def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
    """Queues `programs` programs of a Triton kernel on the device of its tensors. The only place where kernels start.

    Triton looks up the code for its arguments at every launch, which takes the host longer than most kernels take the GPU: so
    what it found is kept, by all that it looks at.
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
    if compiled is not None:  # as it is in the interpreter
        _COMPILED[key] = compiled


def _kind(argument: Any) -> Any:
    """What Triton makes code for: a tensor's type and alignment, whether an integer is 1, a multiple of 16, or long."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    if isinstance(argument, int):
        return argument == 1, argument % 16 == 0, -(2**31) <= argument < 2**31
    return type(argument)
