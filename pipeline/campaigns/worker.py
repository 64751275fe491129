"""Do the work of a campaign in one process: units, and trials that measure a rate."""

import threading
from collections.abc import Callable, Iterator

import torch

from pipeline.campaigns.attempt.bench import Bench
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.attempt.unit import UnitAttempt
from pipeline.campaigns.job import Job
from pipeline.campaigns.measuring import Measured, Trial
from pipeline.config.campaign import Cell
from pipeline.errors import Drained
from pipeline.planning import throughput
from pipeline.planning.units import Unit


def attacking(
    job: Job, device: torch.device, drain: threading.Event
) -> Callable[[Unit | Trial], Iterator[Progress | Finished | Measured]]:
    """Return the function that does a unit of a campaign on `device`. Executors call this once for each worker."""
    return Worker(job, device, drain).work


class Worker(Bench):
    """Attack units, and measure cells, on a device."""

    def work(self, unit: Unit | Trial) -> Iterator[Progress | Finished | Measured]:
        """Attack a unit, or measure a cell to find out how large its units should be. Raises Drained, ShardUnusable."""
        if isinstance(unit, Trial):
            yield Measured(unit, self._rate(self.job.cells[unit.cell]))
        else:
            yield from self.attack(unit)

    def _rate(self, cell: Cell) -> float:
        """Return the draw-gradients a second of a cell. Raises Drained at the next pass of its model after `drain` is set."""

        def check(*call: object) -> None:
            if self.drain.is_set():
                raise Drained(cell.name)

        defended = self.defended(cell)
        watching = defended.classifier.model.register_forward_pre_hook(check)
        try:
            return self.fitting(cell, lambda stack: throughput.rate(defended, cell, stack, self.device))
        finally:
            watching.remove()

    def attack(self, unit: Unit) -> Iterator[Progress | Finished]:
        """Attack a unit and commit its rows. Yields its progress. Raises Drained, ShardUnusable."""
        return UnitAttempt(self, unit).run()
