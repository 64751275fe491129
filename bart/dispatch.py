"""Choose between a Triton kernel and the eager PyTorch code of a transform.

A module of `bart.gpu_kernels` imports Triton at its top. It offers functions like `Transform.eager`: (x, params) -> y, for
contiguous float32 images. This module imports it when a kernel is first used, so Triton need not be installed.
"""

import warnings
from collections.abc import Callable, Collection, Hashable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from bart import recording

OLDEST = (7, 0)
"""The lowest compute capability for which kernels are used: that of a V100, for which Triton still generates code."""

SMALLEST = 16
"""The shorter side, in pixels, of the smallest images that kernels take: they mirror an image once at its border, and their
widest window reaches 16 pixels beyond it. The eager code takes smaller images too."""

KERNELS: dict[str, str] = {
    "fft": "fft.transform:fft",
    "jpeg": "jpeg:jpeg",
    "color_precision": "pointwise.kernel:color_precision",
    "grey_mix": "pointwise.kernel:grey_mix",
    "grey_partial_mix": "pointwise.kernel:grey_partial_mix",
    "grey_two_thirds": "pointwise.kernel:grey_two_thirds",
    "grey_one_channel": "pointwise.kernel:grey_one_channel",
    "hsv": "pointwise.kernel:hsv",
    "xyz": "pointwise.kernel:xyz",
    "lab": "pointwise.kernel:lab",
    "yuv": "pointwise.kernel:yuv",
    "noise": "pointwise.kernel:noise",
    "hist_eq": "contrast:hist_eq",
    "contrast_stretch": "contrast:contrast_stretch",
    "clahe": "clahe:clahe",
    "median": "denoising.rank.median:median",
    "mean": "denoising.rank.mean:mean",
    "mean_bilateral": "denoising.rank.bilateral:mean_bilateral",
    "gaussian_blur": "denoising.gaussian:gaussian_blur",
    "zoom": "geometric:zoom",
    "swirl": "geometric:swirl",
    "tv_chambolle": "denoising.tv.transform:tv_chambolle",
    "wavelet": "denoising.wavelet.transform:wavelet",
    "nl_means": "denoising.nl_means:nl_means",
    "seam_carving": "seam_carving.transform:seam_carving",
}
"""The place of each transform's kernel, as module:function of `bart.gpu_kernels`, by the transform's name."""


def kernel(name: str) -> Any:
    """Return the kernel of a transform that has one, whether it can run here or not; see `bart.gpu_kernels.common.part`."""
    return _load(KERNELS[name])


def barrage(names: Collection[str], x: Tensor) -> Callable[..., Tensor] | None:
    """Return what applies whole barrages of these transforms in kernels to images like `x`, or None if that cannot run.

    See `bart.gpu_kernels.barrage.node`.
    """
    fits = available(x) and x.shape[1] in (1, 3) and min(x.shape[-2:]) >= SMALLEST and all(name in KERNELS for name in names)
    found: Callable[..., Tensor] | None = _load("barrage.node:barrage") if fits else None
    return found


def plan(x: Tensor, *arguments: Any) -> Hashable:
    """Return what decides which kernels are launched for whole barrages with a gradient, where `barrage` can run.

    See `bart.gpu_kernels.barrage.node.plan_of`.
    """
    found: Hashable = _load("barrage.node:plan_of")(x, *arguments)
    return found


def release() -> None:
    """Give up the memory that recorded passes and PyTorch's allocator keep for later use, on all GPUs."""
    recording.forget()
    torch.cuda.empty_cache()


def find(name: str, x: Tensor) -> Callable[[Tensor, dict[str, Tensor]], Tensor] | None:
    """Return the kernel of a transform for images like `x`, or None if the eager code has to run.

    Never waits for the device.
    """
    return _load(KERNELS[name]) if name in KERNELS and min(x.shape[-2:]) >= SMALLEST and available(x) else None


@lru_cache
def _load(place: str) -> Any:
    """Return a function of `bart.gpu_kernels` from "module:function"."""
    module, function = place.split(":")
    return getattr(import_module(f"bart.gpu_kernels.{module}"), function)


def available(x: Tensor) -> bool:
    """Return whether kernels can run on `x`: float32, on a GPU that Triton compiles for."""
    return x.is_cuda and x.dtype is torch.float32 and _supports(x.get_device())


def hashing(keys: Tensor) -> bool:
    """Return whether kernels can make the random numbers of `keys` (n,)."""
    return keys.is_cuda and _supports(keys.get_device())


def hashed(function: str) -> Callable[..., Tensor]:
    """Return the kernel that computes a function of `bart.rng`, by name; see `bart.gpu_kernels.common.rng`."""
    return _load(f"common.rng:{function}")


@lru_cache
def _supports(index: int) -> bool:
    """Return whether Triton compiles for a CUDA device, by one small kernel, once per device.

    Triton promises nothing for older devices, and it may be missing or lack its assembler. In that case a warning says why.
    """
    if find_spec("triton") is None or torch.cuda.get_device_capability(index) < OLDEST:
        return False
    try:
        _load("common.probe:probe")(torch.device("cuda", index))
    except Exception as error:  # a compiler may raise anything; eager code computes the same, more slowly
        warnings.warn(f"no Triton kernels on {torch.cuda.get_device_name(index)}: {error}", stacklevel=2)
        return False
    return True
