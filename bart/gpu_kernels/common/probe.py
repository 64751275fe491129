"""Run a minimal kernel, to find out whether Triton compiles for a device."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher


@triton.jit
def _count_kernel(out, SIZE: tl.constexpr):
    """Store 0, 1, ..., SIZE - 1."""
    place = tl.arange(0, SIZE)
    tl.store(out + place, place)


def probe(device: torch.device) -> Tensor:
    """Return 0, 1, ..., 31, written by a kernel on `device`."""
    out = torch.empty(32, dtype=torch.int32, device=device)
    launcher.launch(_count_kernel, 1, out, SIZE=32)
    return out
