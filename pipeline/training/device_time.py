"""Measure where a device's time goes, by marks in its queue. A mark waits for nothing."""

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class TrainingSpeed:
    """Hold the images a second of a training, and the share of the device's time in [0, 1] that its bare steps take.

    The bare step is the network's forward and backward pass and the update of its weights.
    """

    images: float
    bare: float


class DeviceClock:
    """Add up the time between marks, under the name that the later mark gives, and the images that were done."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._marks: deque[tuple[str, Any]] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget all marks and times."""
        self._marks.clear()
        self._images = 0
        self.seconds: Counter[str] = Counter()

    def mark(self, what: str, images: int = 0) -> None:
        """Count the time since the last mark as `what`, which finished `images` images."""
        now: Any = time.perf_counter()
        if self._cuda:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._marks.append((what, now))
        self._images += images

    def pause(self) -> None:
        """Leave out the time until the next mark. Waits for the device."""
        self.speed()
        self._marks.clear()

    def speed(self) -> TrainingSpeed:
        """Return the speed so far. Waits for the device."""
        if self._cuda:
            torch.cuda.synchronize(self._device)
        while len(self._marks) > 1:
            _, before = self._marks.popleft()
            what, after = self._marks[0]
            self.seconds[what] += before.elapsed_time(after) / 1e3 if self._cuda else after - before
        total = self.seconds.total()
        return TrainingSpeed(self._images / total, self.seconds["bare"] / total) if total else TrainingSpeed(0.0, 0.0)
