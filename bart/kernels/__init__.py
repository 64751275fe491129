"""Triton kernels for the GPU path of filters whose inner loop PyTorch can only write as thousands of launches.

Each kernel has an eager twin in `bart.transforms`, which is its reference and runs wherever the kernel can not. The modules
here import Triton at their top: import them only behind `available`, inside the function that needs them.
"""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

OLDEST = (8, 0)
"""The compute capability from which the kernels are used: Triton no longer supports older ones (a V100 is 7.0)."""


@lru_cache
def _supports(index: int) -> bool:
    return find_spec("triton") is not None and torch.cuda.get_device_capability(index) >= OLDEST


def available(x: Tensor) -> bool:
    """Whether a Triton kernel can run on the device of `x`. Asks nothing of the device itself: no sync."""
    return x.is_cuda and _supports(x.get_device())
