"""Share the bandwidth of a store among those that read and write: each gets as much, up to that of its own network."""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count

from benchmarks.simulated.clock import Clock


class Link:
    """Hold a store of `bandwidth` bytes a second; a transfer gets at most `most`, and a request takes `latency` seconds."""

    def __init__(self, clock: Clock, bandwidth: float, most: float, latency: float = 0.02) -> None:
        self.clock, self.bandwidth, self.most, self.latency = clock, bandwidth, most, latency
        self.bytes: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.seconds: Counter[int] = Counter()
        """Requests in each second."""
        self.full = 0.0
        """Seconds for which all of the bandwidth was in use."""
        self._served, self._at = 0.0, 0.0
        """Bytes that each transfer has got since the beginning, and when that was."""
        self._flows: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers, self._version = count(), 0

    def transfer(self, what: str, size: float, done: Callable[[], None], requests: int = 1) -> None:
        """Move some bytes, and call `done` when they have arrived."""
        self.bytes[what] += round(size)
        self.requests[what] += requests
        self.seconds[int(self.clock.now)] += requests
        self.clock.after(self.latency, lambda: self._begin(size, done))

    @property
    def _rate(self) -> float:
        return min(self.most, self.bandwidth / max(1, len(self._flows)))

    def _begin(self, size: float, done: Callable[[], None]) -> None:
        self._advance()
        heapq.heappush(self._flows, (self._served + size, next(self._numbers), done))
        self._schedule()

    def _advance(self) -> None:
        passed = self.clock.now - self._at
        if self._flows:
            self._served += passed * self._rate
            self.full += passed if self._rate < self.most else 0.0
        self._at = self.clock.now

    def _schedule(self) -> None:
        self._version += 1
        if self._flows:
            version, left = self._version, max(0.0, self._flows[0][0] - self._served)
            self.clock.after(left / self._rate, lambda: self._end(version))

    def _end(self, version: int) -> None:
        if version != self._version:
            return
        self._advance()
        ended = [heapq.heappop(self._flows)]
        while self._flows and self._flows[0][0] <= self._served + 1:
            ended.append(heapq.heappop(self._flows))
        self._schedule()
        for _, _, done in ended:
            done()
