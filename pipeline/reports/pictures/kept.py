"""Keep values that are dear to make, for many threads at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Keep values, the latest used, up to a total weight.

    Threads that ask for the same value wait until one of them has made it; no thread waits for another value. What could not
    be made is not kept.
    """

    def __init__(self, most: int, weight: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._weight, self._total = most, weight, 0
        self._lock = threading.Lock()
        self._values, self._making = OrderedDict[Hashable, V](), dict[Hashable, Future[V]]()

    def get(self, name: Hashable, make: Callable[[], V]) -> V:
        """Return the value of this name, made by `make` if it is not kept. Raises what `make` raises."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
                return self._values[name]
            promise = self._making.get(name)
            if mine := promise is None:
                promise = self._making[name] = Future()
        return self._made(name, promise, make) if mine else promise.result()

    def _made(self, name: Hashable, promise: "Future[V]", make: Callable[[], V]) -> V:
        """Make a value, keep it, and give it to those who wait."""
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._making[name]
            promise.set_exception(error)
            raise
        with self._lock:
            del self._making[name]
            self._values[name] = value
            self._total += self._weight(value)
            while self._total > self._most:
                self._total -= self._weight(self._values.popitem(last=False)[1])
        promise.set_result(value)
        return value
