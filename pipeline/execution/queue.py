"""Units still to do, who failed at them, and who may try again. No file and no clock decides anything here."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

ATTEMPTS = 3
"""Attempts of a unit before it is given up, on different workers where there are several."""


@dataclass(frozen=True)
class Attempt:
    """One that came to nothing. `worker` is ID@HOST, `when` in UTC."""

    worker: str
    host: str
    when: str
    error: str


@dataclass(frozen=True)
class Failed:
    """An attempt that came to nothing; `final` if there will be no other in this run. `attempts` holds all of them; `shard`
    says why the unit's shard can not be used, if it was that."""

    unit: Any
    error: str
    final: bool
    worker: str = ""
    attempts: tuple[Attempt, ...] = ()
    shard: str = ""

    @property
    def reason(self) -> str:
        """Return the last line of the traceback: what went wrong."""
        return self.error.strip().splitlines()[-1]


class Queue:
    """Units in the order of the work. Whoever takes one says later how it went: `finished`, `failed` or `back`.

    A unit that failed goes next, to somebody else: a worker with a broken device or disk must not use up its attempts. It
    goes to a worker that failed at it only if no unit is out, so that nobody else can be waited for.
    """

    def __init__(self, units: Iterable[Any]) -> None:
        self._waiting = deque(units)
        self._again: deque[Any] = deque()  # begun before, with a checkpoint that is fresh
        self._out: set[Any] = set()
        self._failed: dict[Any, list[Attempt]] = {}

    @classmethod
    def of(cls, units: "Iterable[Any] | Queue") -> "Queue":
        """The queue itself, or one of these units."""
        return units if isinstance(units, Queue) else cls(units)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def add(self, units: Iterable[Any]) -> None:
        """More to do, after what there is."""
        self._waiting.extend(units)

    def take(self, worker: str = "") -> Any:
        """The next unit for a worker, or None: there is none now, or only such as others should try."""
        unit = next((unit for unit in self._again if worker not in self._workers(unit)), None)
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

    def finished(self, unit: Any) -> None:
        """It is committed, by this worker or by another."""
        self._out.discard(unit)
        self._failed.pop(unit, None)

    def back(self, unit: Any) -> None:
        """Its worker left or was lost through no fault of the unit, which goes on from its checkpoint."""
        self._out.discard(unit)
        self._again.appendleft(unit)

    def failed(self, unit: Any, error: str, worker: str = "", shard: str = "") -> Failed:
        """Puts a unit back unless it was tried often enough. Arguments as of Failed."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        attempt = Attempt(worker, worker.partition("@")[2], when, error)
        attempts = self._failed.setdefault(unit, [])
        attempts.append(attempt)
        self._out.discard(unit)
        final = len(attempts) >= ATTEMPTS
        if not final:
            self._again.append(unit)
        return Failed(unit, error, final, worker, tuple(attempts), shard)

    def _workers(self, unit: Any) -> set[str]:
        return {attempt.worker for attempt in self._failed.get(unit, [])}
