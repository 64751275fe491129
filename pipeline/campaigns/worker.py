"""Do one unit, from its shard to committed Parquet. Without Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from barrage_plugins import allow
from bart import Attack, BpdaNet, Classifier, Defended, Goal, Mirror, State, Verdict, judge, key, lanes, rng
from pipeline import provenance
from pipeline.campaigns import image_rows
from pipeline.campaigns.job import Job
from pipeline.campaigns.measuring import Measured, Trial
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.data import shards
from pipeline.data.shards import Sample
from pipeline.errors import Drained
from pipeline.execution import Event
from pipeline.models import bpda_networks, loading
from pipeline.planning import stack_sizes as stacks
from pipeline.planning import throughput
from pipeline.planning.units import Unit
from pipeline.store import checkpoints, schema
from pipeline.store.attempts import Attempts
from pipeline.store.layout import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Progress(Event[Unit]):
    """Report how far a unit is: `step` of `steps`, the mean over its images."""

    step: float
    steps: int
    draw_gradients: int
    """Spent by this attempt, without what was done before its checkpoint."""
    seconds: float
    """Spent by this attempt."""

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


def attacking(
    job: Job, device: torch.device, drain: threading.Event
) -> Callable[[Unit | Trial], Iterator[Progress | Finished | Measured]]:
    """Return the function that does a unit of a campaign on `device`. Executors call this once for each worker."""
    return Worker(job, device, drain).work


@dataclass
class Worker:
    """Hold a device, with the job's classifiers on it."""

    job: Job
    device: torch.device
    drain: threading.Event

    def __post_init__(self) -> None:
        """Allow the job's modules; nothing is loaded yet."""
        allow(self.job.modules)
        self._classifiers: dict[str, Classifier] = {}
        self._networks: dict[str, dict[str, BpdaNet]] = {}
        self._stacks: dict[str, int] = {}

    def defended(self, cell: Cell) -> Defended:
        """Return the cell's classifier behind its defense, with the networks of its attack. Each file is loaded once."""
        if cell.model_name not in self._classifiers:
            self._classifiers[cell.model_name] = loading.classifier(cell.model, cell.crop, self.device)
        return cell.defense.defended(self._classifiers[cell.model_name], self._imitations(cell))

    def _imitations(self, cell: Cell) -> dict[str, BpdaNet]:
        """Return the BPDA networks of the cell's attack, by transform; empty if it has none."""
        attack = cell.attack
        if not isinstance(attack, ByGradient) or attack.networks is None or attack.networks_sha256 is None:
            return {}
        if attack.networks_sha256 not in self._networks:
            self._networks[attack.networks_sha256] = bpda_networks.load(attack.networks, attack.networks_sha256, self.device)
        return self._networks[attack.networks_sha256]

    def stack(self, cell: Cell) -> int:
        """Return how many draws of a cell go through the device at once: as the campaign says, else as trying shows."""
        if cell.name not in self._stacks:
            asked = self.job.campaign.workers.stack
            self._stacks[cell.name] = asked or stacks.best(self.defended(cell), cell.crop, self.device)
        return self._stacks[cell.name]

    def fitting(self, cell: Cell, work: Callable[[int], T]) -> T:
        """Return `work(stack)`; after running out of memory, try half the stack. `work` must give the same for any stack."""
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
        """Attack a unit, or measure a cell to find out how large its units should be. Raises Drained, ShardUnusable."""
        if isinstance(unit, Trial):
            yield Measured(unit, self._rate(self.job.cells[unit.cell]))
        else:
            yield from self.attack(unit)

    def _rate(self, cell: Cell) -> float:
        """Return the draw-gradients a second of a cell. Raises Drained at the next pass of its model after `drain` is set."""

        def check(*call: object) -> None:
            if self.drain.is_set():
                raise Drained(cell.name)

        defended = self.defended(cell)
        watching = defended.classifier.model.register_forward_pre_hook(check)
        try:
            return self.fitting(cell, lambda stack: throughput.rate(defended, cell, stack, self.device))
        finally:
            watching.remove()

    def attack(self, unit: Unit) -> Iterator[Progress | Finished]:
        """Attack a unit and commit its rows. Yields its progress. Raises Drained, ShardUnusable."""
        return UnitAttempt(self, unit).run()


def image_keys(cell: Cell, keys: list[str], device: torch.device) -> Mirror:
    """Return the random keys of a cell's images, (n,): they follow from seed, cell and image key, and from nothing else."""
    return Mirror.of(torch.tensor([key(cell.seed, cell.name, k) for k in keys], dtype=torch.int64), device)


def _mean_step(state: State, attack: Attack) -> float:
    """Return the steps that the images have done, the mean over images; one that left early counts as done."""
    steps = torch.where(state.left.host >= 0, attack.steps, state.step.host)
    return float(steps.double().mean())


class UnitAttempt:
    """Hold one attempt at a unit."""

    def __init__(self, worker: Worker, unit: Unit) -> None:
        self.worker, self.unit = worker, unit
        self.cell = worker.job.cells[unit.cell]
        self.attack = self.cell.built
        self.store = Store(worker.job.store)
        self.attempts = Attempts(self.store, self.store.checkpoint(unit))
        self.began = self.saved = time.monotonic()
        self.before = 0.0  # seconds of earlier attempts, from the checkpoint

    def run(self) -> Iterator[Progress | Finished]:
        """Read the images, attack and judge them, and commit their rows."""
        if self.store.entry(self.store.results(self.unit)):  # by a rival, or just before its worker was lost
            self.attempts.clear()
            yield Finished(self.unit, 0, 0, self.own_seconds, lost=True)
            return
        shard = self.worker.job.shards[self.unit.shard]
        samples = shards.read(shard, frozenset(self.worker.job.places(self.unit)))
        decoded = [self._decode(sample) for sample in samples]
        good = [(s, image) for (s, image) in decoded if image is not None]
        context, work = image_rows.unit_columns(self.cell, self.unit, self.worker.device), 0
        rows = [context | image_rows.refused(s) for s, image in decoded if image is None]
        if good:
            defended = self.worker.defended(self.cell)
            kept = [sample for sample, _ in good]
            original = torch.from_numpy(np.stack([image for _, image in good])).to(self.worker.device)
            keys = image_keys(self.cell, [sample.key for sample in kept], self.worker.device)
            clean = self._verdict(original, keys, defended)
            for state, work in self._steps(self._start(kept, original, keys, clean, defended), defended):
                yield Progress(self.unit, _mean_step(state, self.attack), self.attack.steps, work, self.own_seconds)
            rows += self._judged(kept, original, clean, state, defended)
        place = {s.key: i for i, s in enumerate(samples)}
        won = self._commit(sorted(rows, key=lambda row: place[row["image_key"]]))
        yield Finished(self.unit, len(decoded) - len(good), work, self.own_seconds, lost=not won)

    @property
    def own_seconds(self) -> float:
        """Return the seconds of this attempt."""
        return time.monotonic() - self.began

    @property
    def seconds(self) -> float:
        """Return the seconds of the unit, with those that earlier attempts spent up to its checkpoint."""
        return self.before + self.own_seconds

    def _decode(self, sample: Sample) -> tuple[Sample, np.ndarray[Any, Any] | None]:
        if sample.status != "ok":
            return sample, None
        try:
            return sample, shards.decode(sample.image, self.cell.resize, self.cell.crop)
        except ValueError as error:
            return replace(sample, status="bad_image", error=str(error)), None

    def _start(self, good: list[Sample], original: Tensor, keys: Mirror, verdict: Verdict, defended: Defended) -> State:
        """Return the state of the furthest sound checkpoint, else of step 0; `original` (n, 3, h, w) uint8."""
        device = self.worker.device
        clean = original.float() / 255
        saved = self.attempts.furthest(self.unit.name, self.cell.identity)
        if saved and len(saved[1]["x"]) == len(clean):
            self.before = saved[0].seconds
            return State.of(saved[1] | {"clean": clean.cpu()}, device)
        label = torch.tensor([s.label for s in good], device=device)
        state = self.attack.start(clean, Goal(label, self._targets(clean, label, keys, defended)), keys)
        skipped = torch.tensor(image_rows.misclassified(good, verdict, self.cell))
        return replace(state, left=Mirror.of(state.left.host.masked_fill(skipped, 0), device))  # won before the first step

    def _targets(self, clean: Tensor, label: Tensor, keys: Mirror, defended: Defended) -> Tensor:
        """Return the classes that the attack aims at, (n,); -1 for any wrong class. `clean` (n, 3, h, w) in [0, 1]."""
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
        """Attack to the end. Yields the state after each step, with the draw-gradients spent so far."""
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
        """Do one step of the images in the lanes, `width` at most."""
        rule = self.cell.attack.first_break
        return self._fitting(lambda stack: lanes.step(self.attack, state, defended, stack, width, rule))

    def _fitting(self, work: Callable[[int], T]) -> T:
        return self.worker.fitting(self.cell, work)

    def _save(self, state: State) -> None:
        tensors = state.tensors()
        del tensors["clean"]  # comes from the shard
        step, steps = _mean_step(state, self.attack), self.attack.steps
        commit = provenance.commit()
        header = checkpoints.Header(self.unit.name, self.cell.identity, step, steps, self.unit.images, self.seconds, commit)
        self.attempts.save(header, tensors)
        self.saved = time.monotonic()

    def _judged(
        self, good: list[Sample], original: Tensor, clean: Verdict, state: State, defended: Defended
    ) -> list[image_rows.Row]:
        """Return the rows of the attacked images. The examples are judged as they are stored: 8-bit."""
        cell, worker = self.cell, self.worker
        ball = self.attack.ball
        stored = ball.store(self.attack.result(state), state.clean)
        stored = torch.where((state.left.device == 0).view(-1, 1, 1, 1), original, stored)  # skipped
        if worker.job.campaign.save_adversarial:
            stored = self._saved_examples(good, stored)
        assert (ball.distance(stored, state.clean) <= ball.eps + 1e-5).all(), "a stored example left its ball"
        adversarial = self._verdict(stored, state.keys, defended)
        context = image_rows.unit_columns(cell, self.unit, worker.device)
        share = self.seconds / len(good)
        return [context | row for row in image_rows.attacked(good, state, stored, clean, adversarial, cell, share)]

    def _verdict(self, images: Tensor, keys: Mirror, defended: Defended) -> Verdict:
        """Judge 8-bit images (n, 3, h, w) uint8."""
        return self._fitting(lambda stack: judge(defended, images, keys, self.cell.judged_by, stack))

    def _saved_examples(self, good: list[Sample], stored: Tensor) -> Tensor:
        """Store the examples (n, 3, h, w) uint8; return those that the store holds, which may be of an earlier attempt."""
        name = self.store.adversarial(self.unit)
        if self.store.create(name, image_rows.examples(good, stored)):
            return stored
        examples = image_rows.pictures(self.store.read(name) or b"")
        return torch.stack([torch.from_numpy(examples[sample.key]) for sample in good]).to(stored.device)

    def _commit(self, found: list[image_rows.Row]) -> bool:
        data = schema.encode(found, {"cell": self.cell.model_dump(mode="json"), "identity": self.cell.identity})
        won = self.store.create(self.store.results(self.unit), data)
        self.attempts.clear()
        return won
