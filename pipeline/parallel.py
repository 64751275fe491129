"""Work in several threads and processes: one function over many items, in order; what another Python must know."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

REQUESTS = 16
"""Requests to a service at a time."""


def map_ordered(work: Callable[[A], B], items: Iterable[A], threads: int = REQUESTS) -> Iterator[B]:
    """Yield `work(item)` for each item, in order, from `threads` threads.

    At most twice as many items as threads are started ahead of the caller, so memory stays bounded.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[B]] = deque()
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def same_modules() -> dict[str, str]:
    """Return the environment variables by which another process of Python finds the modules that this one finds, and no others:
    the folder that it works in is none of its places.
    """
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
