"""Decide which units may be handed out: all of a cell without a stop rule; else those up to its next interim check."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pipeline.campaigns import stop_rule
from pipeline.campaigns.job import Job
from pipeline.planning.units import Unit
from pipeline.store.layout import Store

OnEnd = Callable[[Sequence[Unit], str], None]
"""Called with the units that a stop rule made unnecessary, and the reason in words."""


class Release:
    """Hold the units to do of a running campaign, and release them as interim checks allow."""

    def __init__(self, job: Job, todo: Iterable[Unit], on_end: OnEnd = lambda units, reason: None) -> None:
        self._job, self._on_end = job, on_end
        self._free: list[Unit] = []
        self._held: dict[str, list[Unit]] = defaultdict(list)  # of cells with interim checks, in the order of the plan
        self._open: dict[str, set[Unit]] = {}  # of these cells: released, and neither committed nor given up
        checked = {cell for cell in job.cells if job.rounds_to_check(cell)}
        for unit in todo:
            (self._held[unit.cell] if unit.cell in checked else self._free).append(unit)

    def ready(self) -> list[Unit]:
        """Return the units that may be begun when a run starts, in the order of the plan."""
        return self._free + [unit for cell in self._held for unit in self._next_round(cell)]

    def closed(self, unit: Unit) -> list[Unit]:
        """Return the units that may be begun because `unit` is committed or given up."""
        waiting = self._open.get(unit.cell)
        if waiting is None:
            return []
        waiting.discard(unit)
        return [] if waiting else self._next_round(unit.cell)

    def _next_round(self, cell: str) -> list[Unit]:
        """Return the units up to the next interim check of a cell. Checks that no unit is missing for are made first."""
        job = self._job
        while held := self._held.get(cell, []):
            check = job.ended_by(cell)
            due = job.rounds_to_check(cell)[len(job.interim_checks(cell)) :]
            last = check.round if check else next(iter(due), job.cuts[cell].rounds - 1)
            first = [unit for unit in held if job.round_of(unit) <= last]
            if first or check:
                rest = held[len(first) :]
                self._held[cell], self._open[cell] = [] if check else rest, set(first)
                if check and check.rate and rest:
                    count, total = check.rate.images, sum(job.images.values())
                    self._on_end(rest, f"{cell}: stopped after {count} of {total} images, {check.rate} % attacked")
                return first
            stop_rule.write(Store(job.store), job.compute_check(cell, last))
        return []
