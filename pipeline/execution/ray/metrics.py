"""What a run counts, as Prometheus metrics through Ray: each node serves them at its metrics port. The files stay the truth."""

from collections.abc import Mapping
from typing import Any

from pipeline.execution.queue import Failed
from pipeline.planning.unit_sizes import Trial

COUNTERS = {
    "draw_gradients": "forward and input-backward passes of one draw of one image",
    "units_done": "units whose rows were committed",
    "units_failed": "attempts of units that came to nothing",
    "units_parked": "units that were given up",
    "images_failed": "images that are rows with a reason",
    "worker_seconds": "seconds that workers spent on units",
}


class Metrics:
    """Counters by campaign and cell, and a gauge of the workers. Where Ray has no metrics, nothing happens."""

    def __init__(self, campaign: str) -> None:
        self._spent: dict[Any, tuple[float, float]] = {}  # draw-gradients and seconds of running attempts
        self._counters: Mapping[str, Any] = {}
        self._tags = {"campaign": campaign}
        try:
            from ray.util.metrics import Counter, Gauge

            tags = ("campaign", "cell")
            self._counters = {name: Counter(f"barrage_{name}_total", text, tags) for name, text in COUNTERS.items()}
            self._workers: Any = Gauge("barrage_workers", "actors that are ready", ("campaign",))
        except Exception:  # a build of Ray without metrics
            self._workers = None

    def saw(self, event: Any, workers: int) -> None:
        """Counts an event, or None, while so many actors are ready."""
        if self._workers is None:
            return
        self._workers.set(workers, self._tags)
        unit: Any = getattr(event, "unit", None)
        if isinstance(unit, Trial) or not hasattr(unit, "cell"):  # a cell that is measured, a network of a training
            return
        for name, value in self._counted(event, unit).items():
            if value > 0:
                self._counters[name].inc(value, self._tags | {"cell": unit.cell})

    def _counted(self, event: Any, unit: Any) -> dict[str, float]:
        """What an event adds to which counter."""
        if isinstance(event, Failed):
            self._spent.pop(unit, None)
            return {"units_failed": 1, "units_parked": int(event.final)}
        work, seconds = self._spent.pop(unit, (0, 0.0))
        now = event.draw_gradients, event.seconds
        if now[0] < work:  # another attempt
            work, seconds = 0, 0.0
        found: dict[str, float] = {"draw_gradients": now[0] - work, "worker_seconds": now[1] - seconds}
        if hasattr(event, "lost"):
            return found | {"units_done": int(not event.lost), "images_failed": event.failed}
        self._spent[unit] = now
        return found
