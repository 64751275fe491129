"""Define what a worker reports about a unit: how far it is, and that its rows are committed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pipeline.execution import Event
from pipeline.planning.units import Unit


@dataclass(frozen=True)
class Progress(Event[Unit]):
    """Report how far a unit is: `step` of `steps`, the mean over its images."""

    step: float
    steps: int
    draw_gradients: int
    """Spent by this attempt, without what was done before its checkpoint."""
    seconds: float
    """Spent by this attempt."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """What a person should know, {topic: line}; in all events of the attempt, since executors pass on the newest."""

    @property
    def totals(self) -> dict[str, float]:
        """Return what this attempt has spent so far."""
        return {"draw_gradients": self.draw_gradients, "worker_seconds": self.seconds}


@dataclass(frozen=True)
class Finished(Event[Unit]):
    """Report that the rows of a unit are committed."""

    failed: int
    """Images that could not be attacked."""
    draw_gradients: int
    """Spent by this attempt, as of `Progress`; likewise `seconds`."""
    seconds: float
    lost: bool = False
    """Whether another worker committed the rows first."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """As of `Progress`."""

    ends: ClassVar[bool] = True

    @property
    def totals(self) -> dict[str, float]:
        """Return what this attempt has spent and done."""
        return {
            "draw_gradients": self.draw_gradients,
            "worker_seconds": self.seconds,
            "units_done": int(not self.lost),
            "images_failed": self.failed,
        }
