"""Simulate what a worker does with a unit: reads, checkpoints, rows, at the pace and in the sizes of this build."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.simulated.clock import Clock
from benchmarks.simulated.link import Link
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.job import Job
from pipeline.models import loading
from pipeline.planning.units import Unit

if TYPE_CHECKING:
    from benchmarks.simulated.machines import Worker

try:
    from pipeline.campaigns.attempt.saving import Pace
except ImportError:  # of a build that saves while the attack waits
    Pace = None  # type: ignore[assignment,misc]
try:
    from pipeline.data.listings import SPARE
except ImportError:  # of a build that reads whole shards
    SPARE = None  # type: ignore[assignment]
ONCE_A_NODE = hasattr(loading, "first_on_node")

IMAGE, WEIGHTS, EXAMPLE, ROW = 110_000, 100_000_000, 90_000, 700
"""Bytes of a photograph of ImageNet, of a ResNet50, of an example as PNG, of a row."""

COPY, HASH = 5e9, 1.2e9
"""Bytes a second of a copy from a GPU to its host, and of a hash."""


@dataclass
class Work:
    """Hold what all attempts need. `each` are the seconds and the bytes of state of an image, by cell."""

    clock: Clock
    link: Link
    job: Job
    each: dict[str, tuple[float, float]]
    actors_a_second: float
    saved: dict[Unit, float] = field(default_factory=dict)
    """Seconds of computing that the checkpoint of a unit holds."""
    ready: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def begin(self, worker: "Worker", unit: Unit) -> "Attempt":
        """Begin a unit."""
        return Attempt(self, worker, unit)

    def commit(self, unit: Unit) -> None:
        """Create the file of rows of a unit in the store: empty, as listings read names alone."""
        path = Path(self.job.store) / "results" / f"{unit.name}.parquet"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


class Attempt:
    """Hold an attempt at a unit. Whatever it does ends in a call by the `Clock`; none counts once the worker is dead."""

    def __init__(self, work: Work, worker: "Worker", unit: Unit) -> None:
        self.work, self.worker, self.unit, self.clock = work, worker, unit, work.clock
        each, state = work.each[unit.cell]
        self.needed, self.state = each * unit.images, state * unit.images
        self.done = work.saved.get(unit, 0.0)
        self.began = self.resumed = self.clock.now
        self.computing, self.draining, self.version = False, False, 0
        self.flying: float = 0.0
        self.pace: Any = Pace(120.0) if Pace is not None else None
        self._weights()

    def _alive(self, what: Callable[[], None]) -> Callable[[], None]:
        return lambda: None if self.worker.dead else what()

    def _weights(self) -> None:
        """Read the weights of the model with the first unit: on each worker, or once on each node."""
        machine = self.worker.machine
        if self.worker.warm or (ONCE_A_NODE and machine.weights is True):
            self._warm()
        elif not ONCE_A_NODE:
            self.work.link.transfer("weights", WEIGHTS, self._alive(self._warm))
        elif isinstance(machine.weights, list):
            machine.weights.append(self._alive(self._warm))
        else:
            machine.weights = [self._alive(self._warm)]
            self.work.link.transfer("weights", WEIGHTS, lambda: self._shared(machine))

    def _shared(self, machine: Any) -> None:
        waiting, machine.weights = machine.weights, True
        for go_on in waiting:
            go_on()

    def _warm(self) -> None:
        self.worker.spend("weights")
        seconds, self.worker.warm = 0.0 if self.worker.warm else 10.0, True
        self.clock.after(seconds, self._alive(self._read))

    def _read(self) -> None:
        self.worker.spend("first unit")
        images, shard = self.unit.images, self.work.job.images[self.unit.shard]
        if SPARE is None or images == shard:
            size, requests = float(shard * IMAGE), shard * IMAGE // (8 << 20)
        else:
            size, requests = images * IMAGE * (1 + SPARE / 2) + 120 * shard, 1 + round(images * (1 - images / shard))
        self.work.link.transfer("shards", size, self._alive(self._resume), requests)

    def _resume(self) -> None:
        """Go on from the checkpoint of an earlier attempt."""
        self.worker.spend("reading shards")
        if self.done:
            self.work.link.transfer("resumes", self.state, self._alive(self._compute), 1 + int(self.state / 8e6))
        else:
            self._compute()

    def _compute(self) -> None:
        """Compute until the next checkpoint, or the end."""
        self.worker.spend("reading checkpoints" if self.done else "reading shards")
        self.computing, self.resumed, self.version = True, self.clock.now, self.version + 1
        wait = self.pace.interval if self.pace else 120.0
        if self.flying:
            wait = max(0.0, self.pace.most - (self.clock.now - self.flying))
        version, left = self.version, self.needed - self.done
        self.clock.after(min(left, wait), lambda: self._stop(version, left <= wait))

    def _stop(self, version: int, over: bool) -> None:
        if version != self.version or self.worker.dead:
            return
        self._count()
        if over:
            self._commit()
        elif self.pace is None:
            self.work.link.transfer("checkpoints", self.state, self._alive(self._saved_waiting))
        elif self.flying:
            self.flying = -self.flying  # wait for it
        else:
            self._save_beside()

    def _count(self) -> None:
        """Count what was computed since the last count."""
        self.done += self.clock.now - self.resumed
        self.resumed, self.computing = self.clock.now, False
        self.worker.spend("computing")

    def _saved_waiting(self) -> None:
        self.clock.after(self.state / HASH, self._alive(self._saved_and_go_on))

    def _saved_and_go_on(self) -> None:
        self.worker.spend("held by checkpoints")
        self.work.saved[self.unit] = self.done
        if self.draining:
            self.worker.over(self.unit, None)
        else:
            self._compute()

    def _save_beside(self) -> None:
        """Copy the state, write it beside the attack, and go on."""
        copy, done = self.state / COPY, self.done

        def go_on() -> None:
            self.worker.spend("held by checkpoints")
            self.flying = began = self.clock.now
            requests = 1 + int(self.state / 8e6)
            written = self._alive(lambda: self._written(done, began, copy))
            self.clock.after(self.state / HASH, lambda: self.work.link.transfer("checkpoints", self.state, written, requests))
            self._compute()

        self.clock.after(copy, self._alive(go_on))

    def _written(self, done: float, began: float, copy: float) -> None:
        if self.worker.attempt is not self:
            return
        self.work.saved[self.unit] = done
        waited, self.flying = self.flying < 0, 0.0
        self.pace.cost, self.pace.took = copy, self.clock.now - began
        if waited:
            self.worker.spend("held by checkpoints")
            self._compute()
        elif self.draining:
            self._leave()
        elif self.computing:
            self._count()
            self._compute()

    def drain(self) -> None:
        """Save and leave."""
        self.draining = True
        if self.computing and not self.flying:
            self._count()
            self._leave()

    def _leave(self) -> None:
        self.version += 1
        if self.computing:
            self._count()
        self.work.link.transfer("checkpoints", self.state, self._alive(self._saved_waiting), 1 + int(self.state / 8e6))

    def lost(self) -> None:
        """Count what was not saved as lost."""
        if self.computing:
            self._count()
        self.worker.spend("idle")
        gone = self.done - self.work.saved.get(self.unit, 0.0)
        self.worker.world.spent["computing"] -= gone
        self.worker.world.spent["lost work"] += gone

    def _commit(self) -> None:
        self.worker.attempt = self  # a save in flight is abandoned
        size = self.unit.images * (EXAMPLE + ROW)
        self.work.link.transfer("results", size, self._alive(self._committed), 2)

    def _committed(self) -> None:
        self.worker.spend("committing")
        self.work.commit(self.unit)
        self.work.ended.append(self.clock.now)
        self.work.saved.pop(self.unit, None)
        self.flying = 0.0
        self.worker.over(self.unit, Finished(self.unit, 0, 0, self.clock.now - self.began))

    def progress(self) -> Progress:
        """Return how far it is."""
        done = self.done + (self.clock.now - self.resumed if self.computing else 0.0)
        return Progress(self.unit, 40 * done / self.needed, 40, int(done * 4000), self.clock.now - self.began)


WITH_WORKERS = "workers" in inspect.signature(Job.with_cuts).parameters
"""Whether this build cuts units by the number of workers."""
