"""How many draws go through a device at once: found by trying, as it decides the speed and no draw."""

import time
from collections.abc import Callable

import torch

from bart import Defended, Eot, Goal, Mirror, key
from bart.gradient import gradient

LEAST, MOST = 16, 1024
GAIN = 1.03
"""A larger stack has to be faster by this; memory is worth something too."""

PIXELS = 4 * 224**2
"""Of a stack on a CPU: more do not fit its caches, and with fewer the calls cost more than the arithmetic."""


_SAID = ("DefaultCPUAllocator", "STATUS_ALLOC_FAILED", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host had no room: PyTorch, its libraries, NumPy and Python each say so in their own way."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAID)


def best(defended: Defended, side: int, device: torch.device) -> int:
    """The stack for images of `side` px on a device: tried out on a GPU; 4 of 224 px or 196 of 32 px on a CPU."""
    return probe(timed(defended, side, device)) if device.type == "cuda" else min(MOST, max(1, PIXELS // side**2))


def probe(seconds: Callable[[int], float]) -> int:
    """The stack with the most draws a second, doubled from LEAST until that stops helping or memory ends; at least 1.

    `seconds(stack)` tries one out; it may run out of memory.
    """
    best, rate, stack = 0, 0.0, LEAST
    while stack <= MOST:
        try:
            found = stack / seconds(stack)
        except Exception as error:
            if not out_of_memory(error):
                raise
            break
        if found < GAIN * rate:
            break
        best, rate, stack = stack, found, 2 * stack
    torch.cuda.empty_cache()  # what was tried last may fill it
    return best or max(1, LEAST // 2)


def timed(defended: Defended, side: int, device: torch.device) -> Callable[[int], float]:
    """Seconds of one gradient of a stack of grey images of `side` px, each with one draw: the second try."""

    def seconds(stack: int) -> float:
        x = torch.full((stack, 3, side, side), 0.5, device=device)
        label = torch.zeros(stack, dtype=torch.int64, device=device)
        keys = Mirror.of(torch.tensor([key("probe", i) for i in range(stack)]), device)
        began = 0.0
        for _ in range(2):  # the first compiles what is new
            torch.cuda.synchronize(device)
            began = time.perf_counter()
            gradient(defended, x, Goal(label, label - 1), keys, Eot(1), stack)
        torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return seconds
