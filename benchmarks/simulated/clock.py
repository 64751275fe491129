"""Move a virtual clock: by the processor time of the driver's own code, and in jumps to the next event while it waits."""

import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count


class Clock:
    """Hold the virtual time, and what happens when. It takes the place of the module `time` in the driver's modules."""

    def __init__(self) -> None:
        self.now, self.busy = 0.0, 0.0
        self._mark, self._depth = time.process_time(), 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        """Return the virtual time in seconds."""
        return self.now if self._depth else self.now + time.process_time() - self._mark

    @contextmanager
    def simulated(self, cost: float = 0.0) -> Iterator[None]:
        """Do the simulation's own work, whose processor time does not count; the driver pays `cost` seconds for the call."""
        if not self._depth:
            spent = time.process_time() - self._mark + cost
            self.busy += spent
            self._run(self.now + spent)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._mark = time.process_time()

    def sleep(self, seconds: float) -> None:
        """Let the driver sleep."""
        with self.simulated():
            self._run(self.now + seconds)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time, or now if that has passed."""
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something some seconds from now."""
        self.at(self.now + seconds, what)

    def until(self, true: Callable[[], bool], end: float) -> None:
        """Let things happen until something is true, or the time `end`."""
        while not true() and self._events and self._events[0][0] <= end:
            self._next()
        if not true():
            self.now = max(self.now, end)

    def _run(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self._next()
        self.now = max(self.now, end)

    def _next(self) -> None:
        when, _, what = heapq.heappop(self._events)
        self.now = max(self.now, when)
        what()
