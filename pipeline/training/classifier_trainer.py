"""The training of a classifier, from shards to weights. No Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pipeline import provenance
from pipeline.data.loader import Batch, Feed
from pipeline.data.training_images import Images
from pipeline.errors import Drained
from pipeline.models import weights
from pipeline.models.weights import Manifest
from pipeline.store.layout import Store
from pipeline.training import checkpoint, curves
from pipeline.training.bpda_trainer import REPORT_SECONDS
from pipeline.training.classifier_job import RecipeJob
from pipeline.training.device_time import Pace
from pipeline.training.process_group import Group
from pipeline.training.steps import Steps


@dataclass(frozen=True)
class Learning:
    """How far a training is: `loss` of the last batch, and the share of it that was `right` as it was shown."""

    step: int
    steps: int
    loss: float
    right: float
    pace: Pace


@dataclass(frozen=True)
class Looked:
    """Accuracy on images kept out of training, by k."""

    step: int
    accuracy: dict[int, float]
    seconds: float


@dataclass(frozen=True)
class Learned:
    """A model whose weights are in the store."""

    manifest: Manifest
    fresh: int
    seconds: float


def learning(job: RecipeJob, device: torch.device, drain: threading.Event) -> "Learner":
    """The work of a training, as executors want it."""
    return Learner(job, device, drain)


class Learner:
    """A device with the images of a job at hand, alone or one of a group; called, it trains the model."""

    def __init__(self, job: RecipeJob, device: torch.device, drain: threading.Event, group: Group | None = None) -> None:
        self.job, self.device, self.drain, self.group = job, device, drain, group or Group()
        told, threads = job.recipe, max(1, int(job.workers.cpus))
        images = Images(job.shards, told.pictures, told.seed, told.held_out, threads, told.shuffle, cache=0)
        self.feed = Feed(images, device, told.seed)
        if told.evaluation.data:
            others = Images(job.validation, told.evaluation.data, told.seed, 0, threads, cache=0)
            self.kept_out, self.places = Feed(others, device, told.seed), list(others.every)
        else:
            again = Images(job.shards, told.pictures, told.seed, told.held_out, threads, told.shuffle)
            self.kept_out = self.feed if self.feed.resident else Feed(again, device, told.seed, resident=False)
            self.places = images.held_out.tolist()

    def __call__(self, unit: str) -> Iterator[Learning | Looked | Learned]:
        """Trains the model and puts it into the store; reports now and then. Raises Drained, ShardUnusable.

        In a group every worker gives events, of which the first worker's are those to show.
        """
        return _Attempt(self, unit).run()


class _Attempt:
    """A model in the making."""

    def __init__(self, learner: Learner, unit: str) -> None:
        self.learner, self.job, self.told, self.group = learner, learner.job, learner.job.recipe, learner.group
        self.store, self.unit, self.count = Store(self.job.store), unit, self.job.steps
        self.steps = Steps(self.told, self.count, learner.device, self.group)
        self.curve = curves.blank(self.count, len(self.looks), len(self.told.evaluation.k), learner.device)
        parts = self.steps.parts() | {"curve": checkpoint.Plain(self.curve)}
        self.saved = checkpoint.Saved(self.store, unit, self.job.identity, self.count, self.told.batch, parts)
        self.step = 0
        self.began = self.said = time.monotonic()

    @property
    def looks(self) -> list[int]:
        """The steps after which the accuracy is looked at."""
        every = self.told.evaluation.every or self.count
        return [*range(every, self.count, every), self.count]

    def run(self) -> Iterator[Learning | Looked | Learned]:
        first = self.step = self.saved.resume()
        with checkpoint.reproducible(), torch.random.fork_rng():
            for batch in self.learner.feed.batches(first, self.count, self.told.batch, self.group.rank, self.group.size):
                self._learn(batch)
                if self.step in self.looks:
                    yield self._report()
                    yield self._look()
                elif time.monotonic() - self.said > REPORT_SECONDS:
                    yield self._report()
                if self._due_to_leave():
                    raise Drained(self.unit)
        if self.group.first:
            yield Learned(self._finish(), self.step - first, time.monotonic() - self.began)

    def _due_to_leave(self) -> bool:
        """Writes the checkpoint where it is time to; whether the training has been told to leave."""
        leave = self.step < self.count and self.group.agreed(self.learner.drain.is_set(), self.step, self.learner.device)
        if self.group.first and (leave or time.monotonic() - self.saved.at > self.told.checkpoint_seconds):
            self.saved.save(self.step)
        return leave

    def _learn(self, batch: Batch | None) -> None:
        """One step. A batch without a readable image changes nothing but the count."""
        if batch is not None:
            self.curve["loss"][self.step], self.curve["right"][self.step] = self.steps.take(batch, self.step)
        elif self.group.size > 1:
            raise ValueError(f"a part of step {self.step} has no readable image: mend the shards, or use fewer workers")
        self.step += 1

    def _report(self) -> Learning:
        self.said = time.monotonic()
        loss, right = (float(self.curve[name][self.step - 1]) for name in ("loss", "right"))
        return Learning(self.step, self.count, loss, right, self.steps.clock.pace())

    def _look(self) -> Looked:
        """Looks at the accuracy."""
        self.steps.clock.pause()
        began, told = time.monotonic(), self.told.evaluation
        self.group.agree(self.steps.network)
        with self.steps.result():
            found = [self.steps.accuracy(self.learner.kept_out, self.learner.places, k, told.draws) for k in told.k]
        self.curve["accuracy"][self.looks.index(self.step)] = torch.tensor(found, dtype=torch.float64)
        return Looked(self.step, dict(zip(told.k, found, strict=True)), time.monotonic() - began)

    def _finish(self) -> Manifest:
        """Writes curves, weights and manifest; the weights, which mean that it is done, once the curves are there."""
        self.store.replace(curves.FILE, curves.encode(self.curve, self.looks, self.told.evaluation.k))
        half = self.told.store_as == "float16"
        with self.steps.result() as network:
            state = {name: value.half() if half and value.is_floating_point() else value.clone()
                     for name, value in network.state_dict().items()}  # fmt: skip
        manifest = self._manifest()
        self.store.create(weights.FILE, weights.encode(manifest, state))
        weights.write_manifest(self.job.store)
        self.saved.remove()
        return manifest

    def _manifest(self) -> Manifest:
        model = self.told.model.model_dump(mode="json", include={"architecture", "classes", "mean", "std"})
        accuracy = self.curve["accuracy"][-1].tolist()
        told = self.told.model_dump(mode="json", exclude={"store", "workers", "checkpoint_seconds"})
        return {
            "model": model,
            "images": {"resize": self.told.data.resize, "crop": self.told.data.crop, "count": self.job.images},
            "training": {"file": told, "identity": self.job.identity, "data": self.job.data, "steps": self.count},
            "accuracy": {str(k): share for k, share in zip(self.told.evaluation.k, accuracy, strict=True)},
            "precision": str(self.steps.half or torch.float32).removeprefix("torch."),
            "device": provenance.device_name(self.learner.device),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
        }
