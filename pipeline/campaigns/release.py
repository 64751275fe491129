"""Which units may be handed out: all of a cell without a stop rule; else those up to its next look, and no more if it ends."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pipeline.campaigns import stop_rule
from pipeline.campaigns.job import Job
from pipeline.planning.units import Unit
from pipeline.store.layout import Store

Ended = Callable[[Sequence[Unit], str], None]
"""Hears of the units that nobody needs any more, and why."""


class Rounds:
    """The units to do of a campaign that is under way, released as looks allow."""

    def __init__(self, job: Job, todo: Iterable[Unit], ended: Ended = lambda units, said: None) -> None:
        self._job, self._ended = job, ended
        self._free: list[Unit] = []
        self._held: dict[str, list[Unit]] = defaultdict(list)  # in the order of the plan
        self._open: dict[str, set[Unit]] = {}  # handed out and not through, of cells that are looked at
        looked_at = {cell for cell in job.cells if job.due(cell)}
        for unit in todo:
            (self._held[unit.cell] if unit.cell in looked_at else self._free).append(unit)

    def first(self) -> list[Unit]:
        """What may be begun now, in the order of the plan."""
        return self._free + [unit for cell in self._held for unit in self._next(cell)]

    def through(self, unit: Unit) -> list[Unit]:
        """A unit is committed or given up: what may be begun because of it."""
        waiting = self._open.get(unit.cell)
        if waiting is None:
            return []
        waiting.discard(unit)
        return [] if waiting else self._next(unit.cell)

    def _next(self, cell: str) -> list[Unit]:
        """The units up to the next look at a cell; looks that nothing is missing for are taken first."""
        held, job = self._held.get(cell, []), self._job
        while held:
            look = job.ended(cell)
            last = look.round if look else next(iter(job.due(cell)[len(job.looks(cell)) :]), job.cuts[cell].rounds - 1)
            first = [unit for unit in held if job.round_of(unit) <= last]
            if first or look:
                rest = held[len(first) :]
                self._held[cell], self._open[cell] = [] if look else rest, set(first)
                if look and look.rate and rest:
                    count, of = look.rate.images, sum(job.images.values())
                    self._ended(rest, f"{cell}: stopped after {count} of {of} images, {look.rate} % attacked")
                return first
            stop_rule.write_down(Store(job.store), job.seen(cell, last))
        return []
