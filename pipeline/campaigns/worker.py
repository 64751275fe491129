"""One unit's work, from shard to committed Parquet. No Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from barrage_plugins import allow
from bart import Attack, BpdaNet, Classifier, Defended, Goal, Mirror, State, Verdict, judge, key, lanes, rng
from pipeline.campaigns import image_rows
from pipeline.campaigns.job import Job
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.data import shards
from pipeline.data.shards import Sample
from pipeline.errors import Drained
from pipeline.models import bpda_networks, loading
from pipeline.planning import stack_sizes as stacks
from pipeline.planning import throughput
from pipeline.planning.unit_sizes import Measured, Trial
from pipeline.planning.units import Unit
from pipeline.store import checkpoints, compaction, schema
from pipeline.store.attempts import Attempts
from pipeline.store.layout import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a unit is: the steps that its images have behind them, on average. `draw_gradients` and `seconds` are of this
    attempt, without what a checkpoint brought."""

    unit: Unit
    step: float
    steps: int
    draw_gradients: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """A unit whose rows are committed, by this worker or (`lost`) by a faster one."""

    unit: Unit
    failed: int
    draw_gradients: int
    seconds: float
    lost: bool = False


def attacking(job: Job, device: torch.device, drain: threading.Event) -> Callable[[Unit | Trial], Iterator[Any]]:
    """Begin a campaign's worker on `device`: what executors call once and then hand units to."""
    return Worker(job, device, drain).work


@dataclass
class Worker:
    """A device with the job's classifiers on it."""

    job: Job
    device: torch.device
    drain: threading.Event

    def __post_init__(self) -> None:
        allow(self.job.modules)
        self._classifiers: dict[str, Classifier] = {}
        self._networks: dict[str, dict[str, BpdaNet]] = {}
        self._stacks: dict[str, int] = {}

    def defended(self, cell: Cell) -> Defended:
        """Return the cell's classifier behind its defense, with the networks of its attack; what is loaded is loaded once."""
        if cell.model_name not in self._classifiers:
            self._classifiers[cell.model_name] = loading.classifier(cell.model, cell.crop, self.device)
        return cell.defense.defended(self._classifiers[cell.model_name], self._imitations(cell))

    def _imitations(self, cell: Cell) -> dict[str, BpdaNet]:
        """The networks of the cell's attack, by transform; none where it has none."""
        attack = cell.attack
        if not isinstance(attack, ByGradient) or attack.networks is None or attack.networks_sha256 is None:
            return {}
        if attack.networks_sha256 not in self._networks:
            self._networks[attack.networks_sha256] = bpda_networks.load(attack.networks, attack.networks_sha256, self.device)
        return self._networks[attack.networks_sha256]

    def stack(self, cell: Cell) -> int:
        """How many draws of a cell go through the device at once: as the campaign says, or as found by trying."""
        if cell.name not in self._stacks:
            asked = self.job.campaign.workers.stack
            self._stacks[cell.name] = asked or stacks.best(self.defended(cell), cell.crop, self.device)
        return self._stacks[cell.name]

    def fitting(self, cell: Cell, work: Callable[[int], T]) -> T:
        """`work(stack)`, again with half the stack where memory does not suffice. It must be pure, the same for any."""
        while True:
            stack = self.stack(cell)
            try:
                return work(stack)
            except Exception as error:
                if stack == 1 or not stacks.out_of_memory(error):
                    raise
            self._stacks[cell.name] = stack // 2
            torch.cuda.empty_cache()  # only now: until the error is forgotten, it holds what did not fit

    def work(self, unit: Unit | Trial) -> Iterator[Progress | Finished | Measured]:
        """Attacks a unit, or measures a cell to find out how large its units should be."""
        if isinstance(unit, Trial):
            cell = self.job.cells[unit.cell]
            yield Measured(unit, self.fitting(cell, lambda n: throughput.rate(self.defended(cell), cell, n, self.device)))
        else:
            yield from self.attack(unit)

    def attack(self, unit: Unit) -> Iterator[Progress | Finished]:
        """Attacks a unit and commits its rows; reports now and then. Raises Drained, ShardUnusable."""
        return _Attempt(self, unit).run()


def image_keys(cell: Cell, keys: list[str], device: torch.device) -> Mirror:
    """The randomness of a cell's images: by seed, cell and image key, and by nothing else."""
    return Mirror.of(torch.tensor([key(cell.seed, cell.name, k) for k in keys], dtype=torch.int64), device)


def _behind(state: State, attack: Attack) -> float:
    """Steps that the images have behind them, on average; one that left has all of them."""
    steps = torch.where(state.left.host >= 0, attack.steps, state.step.host)
    return float(steps.double().mean())


class _Attempt:
    """A unit in the making."""

    def __init__(self, worker: Worker, unit: Unit) -> None:
        self.worker, self.unit = worker, unit
        self.cell = worker.job.cells[unit.cell]
        self.attack = self.cell.built
        self.store = Store(worker.job.store)
        self.attempts = Attempts(self.store, self.store.checkpoint(unit))
        self.began = self.saved = time.monotonic()
        self.before = 0.0  # seconds of earlier attempts, from the checkpoint

    def run(self) -> Iterator[Progress | Finished]:
        if self.store.entry(self.store.results(self.unit)):  # by a rival, or just before its worker was lost
            self.attempts.clear()
            yield Finished(self.unit, 0, 0, self.own_seconds, lost=True)
            return
        shard = self.worker.job.shards[self.unit.shard]
        samples = shards.read(shard, frozenset(self.worker.job.places(self.unit)))
        decoded = [self._decode(sample) for sample in samples]
        good = [(s, image) for (s, image) in decoded if image is not None]
        context, work = image_rows.context(self.cell, self.unit, self.worker.device), 0
        found = [context | image_rows.refused(s) for s, image in decoded if image is None]
        if good:
            defended = self.worker.defended(self.cell)
            kept = [sample for sample, _ in good]
            original = torch.from_numpy(np.stack([image for _, image in good])).to(self.worker.device)
            keys = image_keys(self.cell, [sample.key for sample in kept], self.worker.device)
            clean = self._verdict(original, keys, defended)
            for state, work in self._steps(self._start(kept, original, keys, clean, defended), defended):
                yield Progress(self.unit, _behind(state, self.attack), self.attack.steps, work, self.own_seconds)
            found += self._judged(kept, original, clean, state, defended)
        place = {s.key: i for i, s in enumerate(samples)}
        won = self._commit(sorted(found, key=lambda row: place[row["image_key"]]))
        yield Finished(self.unit, len(decoded) - len(good), work, self.own_seconds, lost=not won)

    @property
    def own_seconds(self) -> float:
        """Of this attempt."""
        return time.monotonic() - self.began

    @property
    def seconds(self) -> float:
        """Of the unit: what earlier attempts spent on its checkpoint counts too."""
        return self.before + self.own_seconds

    def _decode(self, sample: Sample) -> tuple[Sample, np.ndarray[Any, Any] | None]:
        if sample.status != "ok":
            return sample, None
        try:
            return sample, shards.decode(sample.image, self.cell.resize, self.cell.crop)
        except ValueError as error:
            return replace(sample, status="bad_image", error=str(error)), None

    def _start(self, good: list[Sample], original: Tensor, keys: Mirror, verdict: Verdict, defended: Defended) -> State:
        """The state of the checkpoint if there is a sound one, else of step 0; `original` (n, 3, h, w) uint8."""
        device = self.worker.device
        clean = original.float() / 255
        found = self.attempts.furthest(self.unit.name, self.cell.identity)
        if found and len(found[1]["x"]) == len(clean):
            self.before = found[0].seconds
            return State.of(found[1] | {"clean": clean.cpu()}, device)
        label = torch.tensor([s.label for s in good], device=device)
        state = self.attack.start(clean, Goal(label, self._targets(clean, label, keys, defended)), keys)
        skipped = torch.tensor(image_rows.misclassified(good, verdict, self.cell))
        return replace(state, left=Mirror.of(state.left.host.masked_fill(skipped, 0), device))  # won before the first step

    def _targets(self, clean: Tensor, label: Tensor, keys: Mirror, defended: Defended) -> Tensor:
        """The classes that the attack wants, (n,); -1 where it wants any wrong one."""
        goal, classes = self.cell.attack.goal, self.cell.model.classes
        if goal == "random_target":
            other = rng.integers(keys.device, "target", 0, classes - 2)
            return other + (other >= label)
        if goal == "least_likely":  # of the undefended model; the label itself is never a target
            with torch.no_grad():
                logits = self._fitting(lambda stack: torch.cat([defended.classifier(x) for x in clean.split(stack)]))
            return logits.scatter(1, label[:, None], torch.inf).argmin(1)
        return torch.full_like(label, -1)

    def _steps(self, state: State, defended: Defended) -> Iterator[tuple[State, int]]:
        """The attack to its end, one state a step, with the draw-gradients spent so far."""
        before, each = int(state.step.host.sum()), self.cell.cost.gradients // self.attack.steps
        yield state, 0
        rule = self.cell.attack.first_break
        width = -(-self.worker.stack(self.cell) // self.cell.eot_draws) if rule else len(state)
        while not lanes.over(state, self.attack):
            state = self._step(state, defended, width)
            if self.worker.drain.is_set():
                self._save(state)
                raise Drained(self.unit.name)
            if time.monotonic() - self.saved > self.worker.job.campaign.workers.checkpoint_seconds:
                self._save(state)
            yield state, (int(state.step.host.sum()) - before) * each  # counted on the host: the device is not waited for

    def _step(self, state: State, defended: Defended, width: int) -> State:
        """One step of the images in the lanes."""
        rule = self.cell.attack.first_break
        return self._fitting(lambda stack: lanes.step(self.attack, state, defended, stack, width, rule))

    def _fitting(self, work: Callable[[int], T]) -> T:
        return self.worker.fitting(self.cell, work)

    def _save(self, state: State) -> None:
        tensors = state.tensors()
        del tensors["clean"]  # comes from the shard
        step, steps = _behind(state, self.attack), self.attack.steps
        header = checkpoints.Header(self.unit.name, self.cell.identity, step, steps, self.unit.images, self.seconds)
        self.attempts.save(header, tensors)
        self.saved = time.monotonic()

    def _judged(
        self, good: list[Sample], original: Tensor, clean: Verdict, state: State, defended: Defended
    ) -> list[image_rows.Row]:
        """The rows of the attacked images, judged as they are stored."""
        cell, worker = self.cell, self.worker
        ball = self.attack.ball
        stored = ball.store(self.attack.result(state), state.clean)
        stored = torch.where((state.left.device == 0).view(-1, 1, 1, 1), original, stored)  # skipped
        if worker.job.campaign.save_adversarial:
            stored = self._saved_examples(good, stored)
        assert (ball.distance(stored, state.clean) <= ball.eps + 1e-5).all(), "a stored example left its ball"
        adversarial = self._verdict(stored, state.keys, defended)
        context = image_rows.context(cell, self.unit, worker.device)
        share = self.seconds / len(good)
        return [context | row for row in image_rows.attacked(good, state, stored, clean, adversarial, cell, share)]

    def _verdict(self, images: Tensor, keys: Mirror, defended: Defended) -> Verdict:
        """Of 8-bit images (n, 3, h, w) uint8."""
        return self._fitting(lambda stack: judge(defended, images, keys, self.cell.judged_by, stack))

    def _saved_examples(self, good: list[Sample], stored: Tensor) -> Tensor:
        """The examples that the store holds: these, or those of an earlier or a rival attempt, which then are judged."""
        name = self.store.adversarial(self.unit)
        if self.store.create(name, image_rows.examples(good, stored)):
            return stored
        found = image_rows.pictures(self.store.read(name) or b"")
        return torch.stack([torch.from_numpy(found[sample.key]) for sample in good]).to(stored.device)

    def _commit(self, found: list[image_rows.Row]) -> bool:
        data = schema.encode(found, {"cell": self.cell.model_dump(mode="json"), "identity": self.cell.identity})
        won = self.store.create(self.store.results(self.unit), data)
        if won and compaction.late(self.store, self.unit):  # the name was free as others' rows of this unit moved
            self.store.remove(self.store.results(self.unit))
            won = False
        self.attempts.clear()
        return won
