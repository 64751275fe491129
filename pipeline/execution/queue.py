"""Keep the units still to do: who failed at them, and who may try them again. No file and no clock decides anything here."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Generic

from pipeline.execution.protocol import Event, UnitT, UnitT_co

ATTEMPTS = 3
"""Attempts at a unit before it is given up, on different workers where there are several."""


@dataclass(frozen=True)
class FailedAttempt:
    """Describe one failed attempt at a unit. `worker` is PID@HOST, `when` an ISO time in UTC, `error` a traceback."""

    worker: str
    host: str
    when: str
    error: str


@dataclass(frozen=True)
class Failed(Event[UnitT_co]):
    """Report that an attempt failed."""

    error: str
    """A traceback, or a reason in one line."""
    final: bool
    """Whether the unit is given up for this run."""
    worker: str = ""
    """PID@HOST; empty where no single worker is to blame."""
    attempts: tuple[FailedAttempt, ...] = ()
    """All failed attempts at the unit in this run, this one last."""
    shard: str = ""
    """Why the unit's shard can't be used, if that is the reason; else empty."""

    ends: ClassVar[bool] = True

    @property
    def totals(self) -> Mapping[str, float]:
        """Return the counts of a failed attempt, which every job has."""
        return {"units_failed": 1, "units_parked": int(self.final)}

    @property
    def reason(self) -> str:
        """Return the last line of the error: what went wrong."""
        return self.error.strip().splitlines()[-1]


class Queue(Generic[UnitT]):
    """Hold units in the order of the work. Each unit taken is returned by `finished`, `failed` or `give_back`.

    A unit that failed goes next, to another worker: a worker with a broken device or disk must not use up its attempts. It
    goes to a worker that already failed at it only while no unit is out, since no other worker would come back for it.
    """

    def __init__(self, units: Iterable[UnitT]) -> None:
        self._waiting = deque(units)
        self._again: deque[UnitT] = deque()  # were begun before; their checkpoints are fresh
        self._out: set[UnitT] = set()
        self._failed: dict[UnitT, list[FailedAttempt]] = {}

    @classmethod
    def of(cls, units: "Iterable[UnitT] | Queue[UnitT]") -> "Queue[UnitT]":
        """Return `units` itself if it is a queue, else a new queue of these units."""
        return units if isinstance(units, Queue) else cls(units)

    def __len__(self) -> int:
        """Return how many units wait; those that workers have don't count."""
        return len(self._waiting) + len(self._again)

    def add(self, units: Iterable[UnitT]) -> None:
        """Append units."""
        self._waiting.extend(units)

    def take(self, worker: str = "") -> UnitT | None:
        """Return the next unit for a worker, or None if there is none now, or only units that other workers should try."""
        unit = next((unit for unit in self._again if worker not in self._failed_workers(unit)), None)
        if unit is None and self._waiting:
            unit = self._waiting.popleft()
        elif unit is None and self._again and not self._out:
            unit = self._again[0]
        if unit is None:
            return None
        if unit in self._again:
            self._again.remove(unit)
        self._out.add(unit)
        return unit

    def finished(self, unit: UnitT) -> None:
        """Remove a unit for good: its result is stored."""
        self._out.discard(unit)
        self._failed.pop(unit, None)

    def give_back(self, unit: UnitT) -> None:
        """Put a unit back that its worker left through no fault of the unit. It goes on from its checkpoint."""
        self._out.discard(unit)
        self._again.appendleft(unit)

    def failed(self, unit: UnitT, error: str, worker: str = "", shard: str = "") -> Failed[UnitT]:
        """Record a failed attempt, and put the unit back unless that was its last; arguments as in `Failed`."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        attempts = self._failed.setdefault(unit, [])
        attempts.append(FailedAttempt(worker, worker.partition("@")[2], when, error))
        self._out.discard(unit)
        final = len(attempts) >= ATTEMPTS
        if not final:
            self._again.append(unit)
        return Failed(unit, error, final, worker, tuple(attempts), shard)

    def _failed_workers(self, unit: UnitT) -> set[str]:
        return {attempt.worker for attempt in self._failed.get(unit, [])}
