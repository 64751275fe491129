"""Reckon how far a run is and how long it will still take, from the events of its units."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.job import Job
from pipeline.execution.queue import Failed
from pipeline.planning import cost, time_left
from pipeline.planning.units import Unit


@dataclass
class _Running:
    """Hold a unit that is worked on: its share done, in [0, 1], when this attempt began and now, and what the attempt spent."""

    began: float
    share: float
    draw_gradients: int = 0
    seconds: float = 0.0


class Pace:
    """Count the images done and to do, and estimate the time left from the speed of each cell so far."""

    def __init__(self, job: Job, units: Sequence[Unit], workers: int) -> None:
        cells = job.cells
        self._gradients = {name: cell.cost.gradients for name, cell in cells.items()}
        self._weights = {n: cost.cell_weight(c) for n, c in cells.items()}
        self._workers = max(1, min(workers, len(units)))
        self._left: dict[str, float] = dict.fromkeys(cells, 0.0)  # images
        for unit in units:
            self._left[unit.cell] += unit.images
        self._whole = self._weight
        self._running: dict[Unit, _Running] = {}
        self._spent = 0  # draw-gradients of attempts that ended
        self._worked: dict[str, list[float]] = {}  # by attempts that ended: device-seconds, images
        self._began = time.monotonic()

    @property
    def _weight(self) -> float:
        return sum(images * self._weights[cell] for cell, images in self._left.items())

    def saw(self, event: Progress | Finished) -> None:
        """Take in that a unit made progress or is finished."""
        unit = event.unit
        share = event.step / event.steps if isinstance(event, Progress) else 1.0
        running = self._running.pop(unit, None) or _Running(share if isinstance(event, Progress) else 0.0, 0.0)
        self._left[unit.cell] -= unit.images * (share - running.share)
        now = _Running(running.began, share, event.draw_gradients, event.seconds)
        if isinstance(event, Progress):
            self._running[unit] = now
        else:
            self._spent += event.draw_gradients
            self._count(unit, now, self._worked)

    def lost(self, failed: Failed) -> None:
        """Take in that an attempt failed: its images are to do again, its draw-gradients stay spent."""
        unit = failed.unit
        running = self._running.pop(unit, None) or _Running(0.0, 0.0)
        self._left[unit.cell] += unit.images * (running.share - failed.final)
        self._spent += running.draw_gradients
        self._count(unit, running, self._worked)

    @staticmethod
    def _count(unit: Unit, running: _Running, worked: dict[str, list[float]]) -> None:
        """Add what an attempt at a unit took, and what it did."""
        if running.share > running.began and running.seconds:
            seconds, images = worked.get(unit.cell, (0.0, 0.0))
            worked[unit.cell] = [seconds + running.seconds, images + unit.images * (running.share - running.began)]

    @property
    def share(self) -> float:
        """Return the share of the run's work that is done, in [0, 1]."""
        return 1 - self._weight / self._whole if self._whole else 1.0

    def forget(self, units: Sequence[Unit]) -> None:
        """Take out units that will not be started."""
        for unit in units:
            self._left[unit.cell] -= unit.images
            self._whole -= unit.images * self._weights[unit.cell]

    @property
    def to_do(self) -> int:
        """Return the draw-gradients left."""
        return round(sum(images * self._gradients[cell] for cell, images in self._left.items()))

    @property
    def rate(self) -> float:
        """Return the draw-gradients a second of all workers together, since the start."""
        done = self._spent + sum(running.draw_gradients for running in self._running.values())
        return done / max(1e-9, time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated seconds left; None until something was measured.

        A cell's price is the mean over all images of this run, so that one odd unit or step does not make it jump.
        """
        if not any(images > 1e-9 for images in self._left.values()):
            return 0.0
        worked = dict(self._worked)
        for unit, running in self._running.items():
            self._count(unit, running, worked)
        prices = time_left.prices({cell: seconds / images for cell, (seconds, images) in worked.items()}, self._weights)
        return time_left.seconds_left(self._left, prices, self._workers) if prices else None
