"""Count what a run does, as Prometheus metrics through Ray: each node serves them at its metrics port.

Metrics are for dashboards alone. What is done is decided by the job's files.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.execution.protocol import Event, Unit

if TYPE_CHECKING:
    from ray.util.metrics import Counter, Gauge

COUNTERS = {
    "units_failed": "attempts at units that failed",
    "units_parked": "units that were given up",
}
"""Counters of every job; a job adds its own."""


class Metrics:
    """Hold counters by job and label of the unit, and a gauge of the workers. Does nothing where Ray has no metrics."""

    def __init__(self, job: str, counters: Mapping[str, str]) -> None:
        self._totals: dict[Unit, Mapping[str, float]] = {}  # of attempts that go on, as last seen
        self._tags = {"campaign": job}
        self._counters: Mapping[str, Counter] = {}
        self._workers: Gauge | None = None
        names, tags = COUNTERS | dict(counters), ("campaign", "cell")
        try:
            from ray.util import metrics

            self._counters = {name: metrics.Counter(f"barrage_{name}_total", text, tags) for name, text in names.items()}
            self._workers = metrics.Gauge("barrage_workers", "actors that are ready", ("campaign",))
        except Exception:  # a build of Ray without metrics
            self._workers = None

    def count(self, event: Event[Unit], workers: int) -> None:
        """Count what an event adds to the totals of its attempt, and set the number of `workers` that are ready."""
        self.count_workers(workers)
        label = event.unit.counted_as
        if self._workers is None or label is None:
            return
        for name, value in self._increments(event).items():
            if value > 0:
                self._counters[name].inc(value, self._tags | {"cell": label})

    def count_workers(self, workers: int) -> None:
        """Set the number of workers that are ready."""
        if self._workers is not None:
            self._workers.set(workers, self._tags)

    def _increments(self, event: Event[Unit]) -> dict[str, float]:
        """Return how much the totals have grown since the last event of the same attempt."""
        before = self._totals.pop(event.unit, {})
        if any(value < before.get(name, 0) for name, value in event.totals.items()):
            before = {}  # totals never shrink: this is a new attempt
        if not event.ends:
            self._totals[event.unit] = event.totals
        return {name: value - before.get(name, 0) for name, value in event.totals.items()}
