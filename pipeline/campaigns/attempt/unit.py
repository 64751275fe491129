"""Attack one unit, from its shard to committed Parquet. Without Ray: the same code runs in an actor and under a debugger."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from bart import Attack, Defended, Given, Goal, Mirror, State, Verdict, judge, lanes, rng
from pipeline import provenance
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt import alone, image_rows, reading
from pipeline.campaigns.attempt.bench import Bench
from pipeline.campaigns.attempt.clean_pass import CleanPass
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.attempt.saving import Saver, copied
from pipeline.data.shards import Sample
from pipeline.errors import Drained
from pipeline.planning.units import Unit
from pipeline.scoring.blind import COLUMNS, blind
from pipeline.store import checkpoints, schema
from pipeline.store.attempts import Attempts
from pipeline.store.layout import Store

T = TypeVar("T")


def _mean_step(state: State, attack: Attack) -> float:
    """Return the steps that the images have done, the mean over images; one that left early counts as done."""
    steps = torch.where(state.left.host >= 0, attack.steps, state.step.host)
    return float(steps.double().mean())


def _snapshot(state: State) -> dict[str, Tensor]:
    """Return a copy of a state on the host, without the photographs, which come from the shard."""
    tensors = replace(state, clean=state.clean[:0]).tensors()
    del tensors["clean"]
    return copied(tensors, state.x.device)


Decoded = tuple[Sample, image_rows.Picture]
"""A sample and its image, (3, h, w) uint8."""


class Attacked(NamedTuple):
    """Hold images after their attack: samples, images (n, 3, h, w) uint8, clean verdict, state."""

    samples: list[Sample]
    original: Tensor
    clean: Verdict
    state: State


class UnitAttempt:
    """Hold one attempt at a unit."""

    def __init__(self, worker: Bench, unit: Unit) -> None:
        self.worker, self.unit = worker, unit
        self.cell = worker.job.cells[unit.cell]
        self.attack = self.cell.built
        self.store = Store(worker.job.store)
        self.attempts = Attempts(self.store, self.store.checkpoint(unit))
        self.saver = Saver(self.attempts, worker.job.campaign.workers.checkpoint_seconds, worker.device)
        self.began = time.monotonic()
        self.before = 0.0  # seconds of earlier attempts, from the checkpoint
        self.spent = 0  # draw-gradients of this attempt
        self.remarks: dict[str, str] = {}
        self.given: dict[str, Tensor | str] | None = None

    def run(self) -> Iterator[Progress | Finished]:
        """Read the images, attack and judge them, and commit their rows. However it ends, no thread of it goes on."""
        try:
            yield from self._run()
        except Exception:
            self.saver.settle()
            raise
        finally:
            self.saver.abandon()

    def _run(self) -> Iterator[Progress | Finished]:
        if self.store.entry(self.store.results(self.unit)):  # by a rival, or just before its worker was lost
            self.attempts.clear()
            yield Finished(self.unit, 0, 0, self.own_seconds, lost=True)
            return
        shard = self.worker.job.shards[self.unit.shard]
        places = frozenset(self.worker.job.places(self.unit))
        samples = reading.samples(self.store, shard, places)
        self.given = self.worker.given(self.cell, self.unit.shard, dict(zip(sorted(places), samples, strict=True)))
        decoded = [
            image_rows.with_example(sample, image, self.given)
            for sample, image in (image_rows.decoded(sample, self.cell) for sample in samples)
        ]
        good = [(s, image) for (s, image) in decoded if image is not None]
        rows = [self.context | image_rows.refused(s) for s, image in decoded if image is None]
        if good:
            rows += yield from self._rows(good)
            if blind({name: [row.get(name) for row in rows if row["status"] == "ok"] for name in COLUMNS}).any():
                self._remark("blind", "some images have no gradient, so the attack is blind; how many: barrage status")
        place = {s.key: i for i, s in enumerate(samples)}
        won = self._commit(sorted(rows, key=lambda row: place[row["image_key"]]))
        failed = sum(row["status"] != "ok" for row in rows)
        yield Finished(self.unit, failed, self.spent, self.own_seconds, lost=not won, remarks=self.remarks)

    @cached_property
    def context(self) -> image_rows.Row:
        """Return the columns that all rows of the unit share."""
        return image_rows.unit_columns(self.cell, self.unit, self.worker.device)

    def _rows(self, good: list[Decoded]) -> Generator[Progress, None, list[image_rows.Row]]:
        """Attack and judge the images together; if that fails, each alone. Returns their rows. Yields the progress."""
        try:
            attacked = yield from self._attacked(good)
            (stored,) = self._examples([attacked])
            return self._judged(attacked, stored, len(good))
        except Exception as error:
            if not alone.may_be_an_image(error, len(good)):
                raise
        return (yield from self._rows_alone(good))

    def _rows_alone(self, good: list[Decoded]) -> Generator[Progress, None, list[image_rows.Row]]:
        """Do as `_rows` does, image by image: one that fails becomes a row with the reason."""
        rows = list[image_rows.Row]()

        def lost(sample: Sample, why: str) -> None:
            rows.append(self.context | image_rows.refused(replace(sample, status="failed", error=why)))

        def judged(pair: tuple[Attacked, Tensor]) -> Generator[Progress, None, image_rows.Row]:
            yield from ()
            return self._judged(*pair, len(good))[0]

        def attacked(one: Decoded) -> Generator[Progress, None, Attacked]:
            return self._attacked([one], resume=False)

        done = yield from alone.one_by_one(good, attacked, lambda one, why: lost(one[0], why))
        pairs = zip(done, self._examples(done), strict=True)
        rows += yield from alone.one_by_one(pairs, judged, lambda pair, why: lost(pair[0].samples[0], why))
        return rows

    def _attacked(self, good: list[Decoded], resume: bool = True) -> Generator[Progress, None, Attacked]:
        """Judge the images clean, and attack them to the end; yield the progress.

        resume  go on from the unit's checkpoint, and write some
        """
        defended = self.worker.defended(self.cell)
        samples = [sample for sample, _ in good]
        original = torch.from_numpy(np.stack([image for _, image in good])).to(self.worker.device)
        clean, before = self._verdict(samples, original, defended), self.spent
        self._suspect(samples, clean)
        for state, work in self._steps(self._start(samples, original, clean, defended, resume), defended, resume):
            self.spent = before + work
            if not self.attack.steps:  # nothing to make: the examples are given
                continue
            at = _mean_step(state, self.attack)
            yield Progress(self.unit, at, self.attack.steps, self.spent, self.own_seconds, self.remarks)
        return Attacked(samples, original, clean, state)

    def _suspect(self, kept: list[Sample], clean: Verdict) -> None:
        """Report if the clean images of the cell look as if labels or preprocessing were wrong."""
        seen = self.worker.clean.setdefault(self.cell.name, CleanPass(self.cell.model.classes))
        seen.add(torch.tensor([sample.label for sample in kept]), clean.top5[:, :, 0].cpu())
        if seen.suspicion:
            self._remark("clean", seen.suspicion)
        if (clean.top5[:, :, 0] < 0).any():
            self._remark("logits", "some images have NaN or infinite logits, which count as wrong: mend the model's forward")

    def _remark(self, topic: str, line: str) -> None:
        """Add a line about the cell for the person who runs this; of each topic, the first line of a run is shown."""
        self.remarks[f"{self.cell.name} {topic}"] = f"{self.cell.name}: {line}"

    @property
    def own_seconds(self) -> float:
        """Return the seconds of this attempt."""
        return time.monotonic() - self.began

    @property
    def seconds(self) -> float:
        """Return the seconds of the unit, with those that earlier attempts spent up to its checkpoint."""
        return self.before + self.own_seconds

    def _names(self, samples: list[Sample]) -> list[tuple[str, str]]:
        """Return the shard and the key of each image."""
        return [(self.unit.shard, sample.key) for sample in samples]

    def _start(self, good: list[Sample], original: Tensor, verdict: Verdict, defended: Defended, resume: bool) -> State:
        """Return the state of step 0, or with `resume` of the furthest sound checkpoint; `original` (n, 3, h, w) uint8."""
        device = self.worker.device
        clean = original.float() / 255
        saved = self.attempts.furthest(self.unit.name, self.cell.identity) if resume else None
        if saved and len(saved[1]["x"]) == len(clean):
            self.before = saved[0].seconds
            return State.of(saved[1] | {"clean": clean.cpu()}, device)
        label = torch.tensor([s.label for s in good], device=device)
        keys = image_keys.to_attack(self.cell, self._names(good), device)
        state = self.attack.start(clean, Goal(label, self._targets(good, clean, label, defended)), keys)
        if isinstance(self.attack, Given) and self.given:
            state = self.attack.taken(
                state, torch.stack([e for s in good if isinstance(e := self.given[s.key], Tensor)]).to(device)
            )
        skipped = torch.tensor(image_rows.misclassified(good, verdict, self.cell))
        return replace(state, left=Mirror.of(state.left.host.masked_fill(skipped, 0), device))  # won before the first step

    def _targets(self, good: list[Sample], clean: Tensor, label: Tensor, defended: Defended) -> Tensor:
        """Return the classes that the attack aims at, (n,); -1 for any wrong class. `clean` (n, 3, h, w) in [0, 1]."""
        goal, classes = self.cell.attack.goal, self.cell.model.classes
        if goal == "random_target":
            keys = image_keys.to_aim(self.cell, self._names(good), self.worker.device)
            other = rng.integers(keys.device, "target", 0, classes - 2)
            return other + (other >= label)
        if goal == "least_likely":  # of the undefended model; the label itself is never a target
            with torch.no_grad():
                logits = self._fitting(lambda stack: torch.cat([defended.classifier(x) for x in clean.split(stack)]))
            return logits.scatter(1, label[:, None], torch.inf).argmin(1)
        return torch.full_like(label, -1)

    def _steps(self, state: State, defended: Defended, save: bool) -> Iterator[tuple[State, int]]:
        """Attack to the end. Yields the state after each step, with the draw-gradients spent so far; may `save` checkpoints."""
        before, each = int(state.step.host.sum()), self.cell.cost.gradients // max(1, self.attack.steps)
        yield state, 0
        rule = self.cell.attack.first_break
        width = -(-self.worker.stack(self.cell) // self.cell.eot_draws) if rule else len(state)
        while not lanes.over(state, self.attack):
            state = self._step(state, defended, width)
            drain = self.worker.drain.is_set()
            if save and (self.saver.due() or drain):
                self._save(state)
            if drain:
                self.saver.finish()
                raise Drained(self.unit.name)
            yield state, (int(state.step.host.sum()) - before) * each  # counted on the host: the device is not waited for

    def _step(self, state: State, defended: Defended, width: int) -> State:
        """Do one step of the images in the lanes, `width` at most."""
        rule = self.cell.attack.first_break
        return self._fitting(lambda stack: lanes.step(self.attack, state, defended, stack, width, rule))

    def _fitting(self, work: Callable[[int], T]) -> T:
        return self.worker.fitting(self.cell, work)

    def _save(self, state: State) -> None:
        """Begin to write a checkpoint."""
        step, steps = _mean_step(state, self.attack), self.attack.steps
        commit = provenance.commit()
        header = checkpoints.Header(self.unit.name, self.cell.identity, step, steps, self.unit.images, self.seconds, commit)
        self.saver.save(header, partial(_snapshot, state))
        if self.saver.pace.far:
            size, took, every = self.saver.size / 1e9, self.saver.pace.took, self.saver.pace.interval / 60
            line = f"a checkpoint has {size:.1f} GB and takes {took:.0f} s, so there is one every {every:.0f} minutes"
            self._remark("checkpoints", f"{line}: give fewer images a unit (unit_images), or a faster store")

    def _judged(self, attacked: Attacked, stored: Tensor, of: int) -> list[image_rows.Row]:
        """Return the rows of attacked images by their examples `stored` (n, 3, h, w) uint8; `of` images share the time."""
        ball, state = self.attack.ball, attacked.state
        assert (ball.distance(stored, state.clean) <= ball.eps + 1e-5).all(), "a stored example left its ball"
        adversarial = self._verdict(attacked.samples, stored, self.worker.defended(self.cell))
        samples, share = attacked.samples, self.seconds / of
        rows = image_rows.attacked(samples, state, stored, attacked.clean, adversarial, self.cell, share)
        return [self.context | row for row in rows]

    def _verdict(self, good: list[Sample], images: Tensor, defended: Defended) -> Verdict:
        """Judge 8-bit images (n, 3, h, w) uint8: those of the samples, or their examples, by the same draws."""
        keys = image_keys.to_judge(self.cell, self._names(good), self.worker.device)
        return self._fitting(lambda stack: judge(defended, images, keys, self.cell.judged_by, stack))

    def _examples(self, every: list[Attacked]) -> list[Tensor]:
        """Return the examples of attacked images as they are judged: 8-bit, and those that the store holds.

        They may be of an earlier attempt: what is stored first counts.
        """
        stored = [self._example(attacked) for attacked in every]
        samples = [sample for attacked in every for sample in attacked.samples]
        name = self.store.adversarial(self.unit)
        if not self.worker.job.campaign.save_adversarial or self.store.create(
            name, image_rows.examples(samples, torch.cat(stored))
        ):
            return stored
        kept = image_rows.pictures(self.store.read(name) or b"")
        return [self._kept(attacked, own, kept) for attacked, own in zip(every, stored, strict=True)]

    def _example(self, attacked: Attacked) -> Tensor:
        """Return the examples of attacked images in 8 bits, (n, 3, h, w) uint8."""
        state = attacked.state
        stored = self.attack.ball.store(self.attack.result(state), state.clean)
        return torch.where((state.left.device == 0).view(-1, 1, 1, 1), attacked.original, stored)  # skipped

    def _kept(self, attacked: Attacked, own: Tensor, kept: Mapping[str, image_rows.Picture]) -> Tensor:
        """Return the examples that the store keeps; `own` of an image that failed when they were written."""
        pictures = [kept.get(sample.key) for sample in attacked.samples]
        pairs = zip(pictures, own, strict=True)
        return torch.stack([mine if one is None else torch.from_numpy(one).to(mine.device) for one, mine in pairs])

    def _commit(self, found: list[image_rows.Row]) -> bool:
        data = schema.encode(found, {"cell": self.cell.model_dump(mode="json"), "identity": self.cell.identity})
        won = self.store.create(self.store.results(self.unit), data)
        self.saver.abandon()
        self.attempts.clear()
        return won
