"""Find how many draws go through a device at once, by trying: this decides the speed, but no number."""

import time
from collections.abc import Callable

import torch

from bart import Defended, Eot, Goal, Mirror, key
from bart.gradient import gradient

LEAST, MOST = 16, 1024
"""Draws of the smallest and the largest stack that are tried on a GPU."""

GAIN = 1.03
"""A larger stack is used only if it is faster by this factor, since it takes more memory."""

PIXELS = 4 * 224**2
"""Pixels of a stack on a CPU: more don't fit its caches, and with fewer the calls cost more than the arithmetic."""

_MESSAGES = ("DefaultCPUAllocator", "STATUS_ALLOC_FAILED", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or the host ran out of memory, in PyTorch, its libraries, NumPy or Python."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def best(defended: Defended, side: int, device: torch.device) -> int:
    """Return the stack for images of `side` px on a device: tried out on a GPU; 4 for 224 px or 196 for 32 px on a CPU."""
    return probe(timed(defended, side, device)) if device.type == "cuda" else min(MOST, max(1, PIXELS // side**2))


def probe(seconds: Callable[[int], float]) -> int:
    """Return the stack with the most draws a second: LEAST, doubled while that helps and fits into memory; at least 1.

    `seconds(stack)` tries a stack and returns its seconds; it may run out of memory.
    """
    best, rate, stack = 0, 0.0, LEAST
    while stack <= MOST:
        try:
            draws_a_second = stack / seconds(stack)
        except Exception as error:
            if not out_of_memory(error):
                raise
            break
        if draws_a_second < GAIN * rate:
            break
        best, rate, stack = stack, draws_a_second, 2 * stack
    torch.cuda.empty_cache()  # the last try may have filled it
    return best or max(1, LEAST // 2)


def timed(defended: Defended, side: int, device: torch.device) -> Callable[[int], float]:
    """Return a function that times one gradient of a stack of grey images of `side` px, each with one draw, in seconds."""

    def seconds(stack: int) -> float:
        x = torch.full((stack, 3, side, side), 0.5, device=device)
        label = torch.zeros(stack, dtype=torch.int64, device=device)
        keys = Mirror.of(torch.tensor([key("probe", i) for i in range(stack)]), device)
        began = 0.0
        for _ in range(2):  # the first one compiles new kernels and does not count
            torch.cuda.synchronize(device)
            began = time.perf_counter()
            gradient(defended, x, Goal(label, label - 1), keys, Eot(1), stack)
        torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return seconds
