"""Where a device's time goes, by marks in its queue: none of them waits."""

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Pace:
    """`images` a second, and the share of the device's time that goes into the bare step: network forward, backward, update."""

    images: float
    bare: float


class Clock:
    """Collects the time between marks, by what the later one says; and the images that are through."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._marks: deque[tuple[str, Any]] = deque()
        self.reset()

    def reset(self) -> None:
        """Forgets what has been."""
        self._marks.clear()
        self._images = 0
        self.seconds: Counter[str] = Counter()

    def mark(self, what: str, images: int = 0) -> None:
        """What has been at work since the last mark; and how many images it finished."""
        now: Any = time.perf_counter()
        if self._cuda:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._marks.append((what, now))
        self._images += images

    def pause(self) -> None:
        """What comes before the next mark does not count. Waits for the device."""
        self.pace()
        self._marks.clear()

    def pace(self) -> Pace:
        """So far. Waits for the device."""
        if self._cuda:
            torch.cuda.synchronize(self._device)
        while len(self._marks) > 1:
            _, before = self._marks.popleft()
            what, after = self._marks[0]
            self.seconds[what] += before.elapsed_time(after) / 1e3 if self._cuda else after - before
        total = self.seconds.total()
        return Pace(self._images / total, self.seconds["bare"] / total) if total else Pace(0.0, 0.0)
