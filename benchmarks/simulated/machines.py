"""Simulate the machines of a cluster: nodes that come and go, and on each the workers, who do units that compute nothing."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.simulated.clock import Clock
from benchmarks.simulated.link import Link
from benchmarks.simulated.work import Work
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.execution.ray.actor import Ended, Location, Report
from pipeline.execution.ray.cluster import Node, View
from pipeline.planning.units import Unit

GPUS, CORES = 8, 64
REMOTE_SECONDS = {"start": 10.0, "new node": 120.0, "notice": 30.0, "first unit": 10.0}
"""Until a process has imported and holds its GPU; until a lost node is replaced; of a notice; for kernels at first."""


class Reference:
    """Hold what Ray returns for a call: `value` once it is there."""

    def __init__(self) -> None:
        self.value: Any = None

    @property
    def ready(self) -> bool:
        """Return whether the answer is there."""
        return self.value is not None


@dataclass(eq=False)
class Machine:
    """Hold a node, its workers, and whether weights have been read on it: a list holds who waits for them."""

    node: Node
    free: int = GPUS
    workers: "list[Worker]" = field(default_factory=list)
    weights: list[Callable[[], None]] | bool = False


class World:
    """Hold all machines, and what became of the workers' time: seconds of GPUs by what they were spent on."""

    def __init__(self, clock: Clock, link: Link, work: Work, nodes: int, losses: float, seed: int = 0) -> None:
        self.clock, self.link, self.work, self.chance = clock, link, work, Random(seed)
        self.machines: list[Machine] = []
        self.draining: set[str] = set()
        self.waiting: deque[Worker] = deque()
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        self.losses, self._scheduled = losses, 0.0
        self.view = View((), frozenset(), (), 0.0)
        for _ in range(nodes):
            self._join()

    def _join(self) -> None:
        self.counts["nodes"] += 1
        resources = {"CPU": float(CORES), "GPU": float(GPUS)}
        self.machines.append(Machine(Node(f"node{self.counts['nodes']}", resources, {})))
        if self.losses:
            number = self.machines[-1]
            self.clock.after(self.chance.expovariate(self.losses / 3600), lambda: self._notice(number))
        self._see()
        self._place()

    def _see(self) -> None:
        nodes = tuple(machine.node for machine in self.machines)
        self.view = View(nodes, frozenset(self.draining), (), self.clock.now)

    def _notice(self, machine: Machine) -> None:
        """End a node: half of them say so before."""
        self.counts["losses"] += 1
        if self.chance.random() < 0.5:
            self.draining.add(machine.node.id)
            self._see()
            self.clock.after(REMOTE_SECONDS["notice"], lambda: self._lose(machine))
        else:
            self._lose(machine)

    def _lose(self, machine: Machine) -> None:
        self.machines.remove(machine)
        self.draining.discard(machine.node.id)
        self._see()
        for worker in list(machine.workers):
            worker.die(f"node has died: {machine.node.id}")
        self.clock.after(REMOTE_SECONDS["new node"], self._join)

    def request(self, worker: "Worker") -> None:
        """Start a worker where there is room, or once there is."""
        self.waiting.append(worker)
        self._place()

    def _place(self) -> None:
        """Give workers that wait a place; the cluster's own scheduler starts `actors_a_second` of them."""
        free = [m for m in self.machines if m.free and m.node.id not in self.draining]
        while self.waiting and free:
            machine = max(free, key=lambda m: m.free)
            worker = self.waiting.popleft()
            if worker.dead:
                continue
            machine.free -= 1
            machine.workers.append(worker)
            worker.machine = machine
            if not machine.free:
                free.remove(machine)
            self._scheduled = max(self._scheduled, self.clock.now) + 1 / self.work.actors_a_second
            self.clock.at(self._scheduled + REMOTE_SECONDS["start"], worker.started)


class Worker:
    """Simulate an actor: it keeps the promises of `pipeline.execution.ray.actor.Actor` about reports."""

    def __init__(self, world: World) -> None:
        self.world, self.clock, self.machine = world, world.clock, Machine(Node("", {}, {}))
        self.dead, self.error, self.leaving = False, "", ""
        self.events: list[Progress | Finished] = []
        self.ended: list[Ended[Unit]] = []
        self.waiting: deque[Unit] = deque()
        self.attempt: Any = None
        self.asked: Reference | None = None
        self.location, self.since, self.warm = Reference(), self.clock.now, False
        self._idle = True
        self._known = ""
        world.request(self)

    def spend(self, what: str) -> None:
        """Count the time since it was counted last."""
        self.world.spent[what] += self.clock.now - self.since
        self.since = self.clock.now

    def started(self) -> None:
        """Say that it is ready."""
        if not self.dead:
            self.spend("start-up")
            self.world.counts["workers"] += 1
            self.world.work.ready.append(self.clock.now)
            self.location.value = Location("host", id(self), self.machine.node.id)
            self.world.counts["answers"] += 1

    def die(self, why: str) -> None:
        """End, with what was not saved."""
        if not self.dead:
            self.dead, self.error = True, why
            if self.attempt:
                self.attempt.lost()
            else:
                self.spend("idle")
            if self in self.machine.workers:
                self.machine.workers.remove(self)
                self.machine.free += 1
                self.world.clock.after(0.0, self.world._place)
            for reference in (self.asked, self.location):
                if reference and not reference.ready:
                    reference.value = RuntimeError(why)
            self.world.counts["answers"] += 1

    def exchange(self, units: Sequence[Unit], leave: bool, seconds: float) -> Reference:
        """Take units; answer once all have ended, once it is to leave, or after `seconds`."""
        reference = self.asked = Reference()
        if self.dead:
            reference.value = RuntimeError(self.error)
            return reference
        if leave:
            self.leaving = self.leaving or "the run asked it to stop"
        self.waiting.extend(units)
        self._idle, self._known = not self.waiting and self.attempt is None, self.leaving
        if leave and self.attempt:
            self.attempt.drain()
        self._next()
        self.clock.after(seconds, lambda: self._report(reference))
        self.answer()
        return reference

    def answer(self) -> None:
        """Answer if there is a reason to."""
        if not (self.asked and not self.asked.ready and not self.dead):
            return
        over = self.attempt is None and not self.waiting
        if (over and not self._idle) or (self.leaving and (self.attempt is None or self.leaving != self._known)):
            self._report(self.asked)

    def _report(self, reference: Reference) -> None:
        if reference.ready or self.dead:
            return
        current = self.attempt.unit if self.attempt else None
        if self.attempt:
            self.events.append(self.attempt.progress())
        reference.value = Report(self.events, self.ended, self.leaving, current)
        self.world.counts["answers"] += 1
        self.events, self.ended = [], []
        self.waiting.clear()

    def _next(self) -> None:
        if self.attempt is None and self.waiting and not self.leaving:
            self.spend("waiting for the driver")
            self.attempt = self.world.work.begin(self, self.waiting.popleft())

    def over(self, unit: Unit, finished: Finished | None) -> None:
        """End the attempt: finished, or drained."""
        self.attempt = None
        self.events += [finished] if finished else []
        self.ended.append(Ended(unit, drained=finished is None))
        self._next()
        self.answer()
