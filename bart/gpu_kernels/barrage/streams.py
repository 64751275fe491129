"""Queue work that does not depend on other work on CUDA streams of its own, so that a device does both at the same time."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

import torch

SLOW = {"seam_carving": 0, "tv_chambolle": 1, "nl_means": 1, "wavelet": 1}
"""The transforms that keep only a few multiprocessors busy, for long, and the number of the stream that each has in a round."""

On = Callable[[Hashable], AbstractContextManager[object]]
"""`on(name)`: a context in which work is queued on the stream of a name."""


@lru_cache(maxsize=256)
def stream_of(device: torch.device, name: Hashable) -> torch.cuda.Stream:
    """Return the stream of a name, made once."""
    return torch.cuda.Stream(device)


@contextmanager
def branches(device: torch.device) -> Iterator[On]:
    """Yield `on`. Work on its streams comes after what was queued before, and before what is queued after this context.

    So memory that is allocated before or after needs no further care; what is allocated within belongs to its stream.
    This holds after an exception too: what fails may give up memory in which its streams still write.
    """
    if device.type != "cuda":
        yield lambda name: nullcontext()
        return
    main, used = torch.cuda.current_stream(device), set[torch.cuda.Stream]()

    def on(name: Hashable) -> AbstractContextManager[object]:
        stream = stream_of(device, name)
        if stream not in used:
            stream.wait_stream(main)
            used.add(stream)
        return torch.cuda.stream(stream)

    try:
        yield on
    finally:
        for stream in used:
            main.wait_stream(stream)
