"""Run slow transforms on CUDA streams of their own, at the same time as the others.

A round has few images for each transform, and a slow transform keeps only a few multiprocessors busy with them, for long.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor

SLOW = (("seam_carving",), ("tv_chambolle", "nl_means", "wavelet"))
"""The transforms that get a side stream; those of one tuple share a stream."""

StreamOf = Callable[[str, Iterable[Tensor]], AbstractContextManager[object]]
"""`stream_of(name, inputs)`: a context in which the work of a transform is queued on its stream."""


@lru_cache
def _streams(index: int) -> tuple[torch.cuda.Stream, ...]:
    """Return a device's side streams, made once."""
    return tuple(torch.cuda.Stream(index) for _ in SLOW)


@contextmanager
def side_streams(x: Tensor, names: Collection[str]) -> Iterator[StreamOf]:
    """Yield `stream_of(name, inputs)`, which selects the stream of the transform `name`. On exit, the round is complete.

    names   the transforms of the round
    The side streams wait for the work that was queued before, and at the end the current stream waits for them. Their results
    may be read only after that. Inputs may be freed by the backward pass while a side stream still reads them, so each is
    registered with the allocator.
    """
    if not x.is_cuda:
        yield lambda name, inputs: nullcontext()
        return
    main = torch.cuda.current_stream(x.device)
    streams = {name: stream for group, stream in zip(SLOW, _streams(x.get_device()), strict=True) for name in group}
    used = {streams[name] for name in names if name in streams}

    def stream_of(name: str, inputs: Iterable[Tensor]) -> AbstractContextManager[object]:
        if name not in streams:
            return nullcontext()
        for tensor in inputs:
            tensor.record_stream(streams[name])
        return torch.cuda.stream(streams[name])

    for stream in used:
        stream.wait_stream(main)
    yield stream_of
    for stream in used:
        main.wait_stream(stream)
