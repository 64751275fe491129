"""The transforms as Triton kernels, for GPUs: the same functions as the eager ones, with their windows and loops on the chip.

A module of this package imports Triton at its top and offers functions like `Transform.eager`, (x, params) -> y, for
contiguous float32 images. `find` imports it when a kernel is first wanted, so nothing here needs Triton to be installed.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

OLDEST = (7, 0)
"""The compute capability from which the kernels are used: a V100's, for which Triton still generates code."""

KERNELS: dict[str, str] = {
    "fft": "fft:fft",
    "jpeg": "jpeg:jpeg",
    "color_precision": "pointwise:color_precision",
    "grey_mix": "pointwise:grey_mix",
    "grey_partial_mix": "pointwise:grey_partial_mix",
    "grey_two_thirds": "pointwise:grey_two_thirds",
    "grey_one_channel": "pointwise:grey_one_channel",
    "hsv": "color_space:hsv",
    "xyz": "color_space:xyz",
    "lab": "color_space:lab",
    "yuv": "color_space:yuv",
    "noise": "noise:noise",
    "hist_eq": "contrast:hist_eq",
    "contrast_stretch": "contrast:contrast_stretch",
    "clahe": "clahe:clahe",
    "median": "rank:median",
    "mean": "rank:mean",
    "mean_bilateral": "rank:mean_bilateral",
    "gaussian_blur": "gaussian:gaussian_blur",
    "zoom": "geometric:zoom",
    "swirl": "geometric:swirl",
    "tv_chambolle": "tv:tv_chambolle",
    "wavelet": "wavelet:wavelet",
    "nl_means": "nl_means:nl_means",
    "seam_carving": "seams:seam_carving",
}
"""Where the kernel of a transform is: module:function of this package, by the transform's name."""


def find(name: str, x: Tensor) -> Callable[[Tensor, dict[str, Tensor]], Tensor] | None:
    """The kernel of a transform for images like `x`, or None where the eager definition has to do. Never waits."""
    return _load(KERNELS[name]) if name in KERNELS and available(x) else None


@lru_cache
def _load(place: str) -> Any:
    module, function = place.split(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def available(x: Tensor) -> bool:
    """Whether kernels can run on `x`: float32 on a GPU that Triton compiles for."""
    return x.is_cuda and x.dtype is torch.float32 and _supports(x.get_device())


def hashing(keys: Tensor) -> bool:
    """Whether the random numbers of `keys` can come from kernels."""
    return keys.is_cuda and _supports(keys.get_device())


def hashed(function: str) -> Callable[..., Tensor]:
    """The function of `bart.rng` as a kernel; see `bart.kernels.rng`."""
    return _load(f"rng:{function}")


@lru_cache
def _supports(index: int) -> bool:
    """Tried once per device: Triton promises nothing for the older ones, and may be missing or without its assembler."""
    if find_spec("triton") is None or torch.cuda.get_device_capability(index) < OLDEST:
        return False
    try:
        _load("probe:probe")(torch.device("cuda", index))
    except Exception as error:  # whatever a compiler may raise; eager code computes the same, slowly
        warnings.warn(f"no Triton kernels on {torch.cuda.get_device_name(index)}: {error}", stacklevel=2)
        return False
    return True


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
