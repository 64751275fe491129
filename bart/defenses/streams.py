"""Slow transforms beside the others, on streams of their own: few images of a round keep few multiprocessors busy for long."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor

SLOW = (("seam_carving",), ("tv_chambolle", "nl_means", "wavelet"))
"""The transforms that go aside, one stream for each line."""

On = Callable[[str, Iterable[Tensor]], AbstractContextManager[object]]


@lru_cache
def _streams(index: int) -> tuple[torch.cuda.Stream, ...]:
    return tuple(torch.cuda.Stream(index) for _ in SLOW)


@contextmanager
def aside(x: Tensor, names: Collection[str]) -> Iterator[On]:
    """Within it, `on(name, inputs)` is where to queue the transform `name` of a round; after it, all of the round is done.

    The streams wait for what was queued before, and the current stream for them at the end. What they make is read only after
    that. Their inputs may be freed on another stream's time, in the backward pass, so the allocator is told of their use.
    """
    if not x.is_cuda:
        yield lambda name, inputs: nullcontext()
        return
    main = torch.cuda.current_stream(x.device)
    streams = {name: stream for some, stream in zip(SLOW, _streams(x.get_device()), strict=True) for name in some}
    used = {streams[name] for name in names if name in streams}

    def on(name: str, inputs: Iterable[Tensor]) -> AbstractContextManager[object]:
        if name not in streams:
            return nullcontext()
        for tensor in inputs:
            tensor.record_stream(streams[name])
        return torch.cuda.stream(streams[name])

    for stream in used:
        stream.wait_stream(main)
    yield on
    for stream in used:
        main.wait_stream(stream)
