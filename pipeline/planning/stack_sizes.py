"""Find how many draws go through a device at once, from the memory that a few take: this decides the speed, but no number.

One try suffices: memory grows in proportion to the draws, and a fixed part only makes the answer smaller. What is free is
asked, not assumed, because other processes may use the device too. If an answer is too large after all, the work halves it
(`pipeline.campaigns.attempt.bench`).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from bart import Defended, Eot, Goal, Mirror, dispatch, key
from bart.gradient import gradient

TRIED = 64
"""Draws that are tried; half as many where they do not fit, and so on."""

MOST = 1024
"""The most draws of a stack."""

PIXELS, HOST_PIXELS = 512 * 224**2, 4 * 224**2
"""Pixels of a stack that keep a GPU busy: more take memory and save no time. On a CPU, more do not fit its caches."""

SHARE = 0.8
"""The part of the free memory that is used; the rest is for what draws differ in, and for fragments between tensors."""

_MESSAGES = ("DefaultCPUAllocator", "STATUS_ALLOC_FAILED", "out of memory")


class Room(NamedTuple):
    """Hold a device's memory in bytes: what is free for this process, and all."""

    free: int
    total: int


class Device(Protocol):
    """Say how much memory there is, and how much work takes."""

    def room(self) -> Room:
        """Return the memory that is free now."""

    def peak(self, work: Callable[[], object]) -> int:
        """Return the bytes that work takes at its peak, above what was taken before. It may run out of memory."""


class Cuda:
    """Ask a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def room(self) -> Room:
        """Return what the driver has free, after PyTorch gave back what it kept; what recorded passes keep stays theirs."""
        torch.cuda.empty_cache()
        return Room(*torch.cuda.mem_get_info(self.device))

    def peak(self, work: Callable[[], object]) -> int:
        """Return the peak of PyTorch's allocator, which also has the work spaces of libraries."""
        work()  # compiles kernels
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        return torch.cuda.max_memory_allocated(self.device) - before


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or the host ran out of memory, in PyTorch, its libraries, NumPy or Python."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def busy(side: int, pixels: int) -> int:
    """Return how many draws of `side` x `side` pixels have some number of pixels: at least 1, at most MOST."""
    return min(MOST, max(1, pixels // side**2))


def best(defended: Defended, side: int, device: torch.device, gpus: float = 1.0) -> int:
    """Return the stack for images of `side` px on a device, of which this process was given `gpus`.

    On a CPU it is 4 for 224 px and 196 for 32 px.
    """
    if device.type != "cuda":
        return busy(side, HOST_PIXELS)
    return fitting(lambda stack: _gradient(defended, side, device, stack), Cuda(device), busy(side, PIXELS), gpus)


def fitting(work: Callable[[int], object], device: Device, most: int, gpus: float = 1.0) -> int:
    """Return how many draws fit on a device: at least 1, at most `most`.

    work    computes a stack of the given number of draws; it may run out of memory
    gpus    the part of the device that this process may fill; no other's part is taken, and nothing that is not free
    """
    stack = min(TRIED, most)
    while True:
        try:
            each = max(1, device.peak(lambda: work(stack)) // stack)  # noqa: B023
            break
        except Exception as error:
            if not out_of_memory(error):
                raise
        dispatch.release()  # only now: until the error is forgotten, it holds what did not fit
        if stack == 1:
            return 1
        stack //= 2
    dispatch.release()  # what was recorded for this stack is of no use for another
    free, total = device.room()
    return max(1, min(most, int(SHARE * min(free, gpus * total)) // each))


def _gradient(defended: Defended, side: int, device: torch.device, stack: int) -> None:
    """Compute the gradient of a stack of grey images, each with one draw."""
    x = torch.full((stack, 3, side, side), 0.5, device=device)
    label = torch.zeros(stack, dtype=torch.int64, device=device)
    keys = Mirror.of(torch.tensor([key("probe", i) for i in range(stack)]), device)
    gradient(defended, x, Goal(label, label - 1), keys, Eot(1), stack)
