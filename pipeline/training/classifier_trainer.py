"""Train a classifier, from shards to weights. Without Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from pipeline import provenance
from pipeline.data.loader import Batch, Feed
from pipeline.data.training_images import Images
from pipeline.errors import Drained
from pipeline.execution import Event
from pipeline.models import weights
from pipeline.models.weights import Manifest
from pipeline.store.layout import Store
from pipeline.training import checkpoint, curves
from pipeline.training.bpda_trainer import REPORT_SECONDS
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.device_time import TrainingSpeed
from pipeline.training.process_group import Group
from pipeline.training.steps import Steps
from pipeline.training.unit import TrainingUnit


@dataclass(frozen=True)
class ClassifierProgress(Event[TrainingUnit]):
    """Report how far a training is."""

    step: int
    steps: int
    loss: float
    """Of the last batch."""
    right: float
    """Share of the last batch that was classified right, as it was shown to the network."""
    speed: TrainingSpeed


@dataclass(frozen=True)
class Evaluated(Event[TrainingUnit]):
    """Report the accuracy on images held out of training, in [0, 1], by k."""

    step: int
    accuracy: dict[int, float]
    seconds: float


@dataclass(frozen=True)
class ClassifierTrained(Event[TrainingUnit]):
    """Report that the weights of the model are in the store."""

    manifest: Manifest
    fresh: int
    """Steps of this attempt, without those before its checkpoint; likewise `seconds`."""
    seconds: float

    ends: ClassVar[bool] = True


TrainingEvent = ClassifierProgress | Evaluated | ClassifierTrained


def begin_classifier(job: ClassifierJob, device: torch.device, drain: threading.Event) -> "ClassifierTrainer":
    """Return the function that trains the model on `device`. Executors call this once for each worker."""
    return ClassifierTrainer(job, device, drain)


class ClassifierTrainer:
    """Hold a device and the images of a job, alone or as one worker of a group. A call trains the model."""

    def __init__(self, job: ClassifierJob, device: torch.device, drain: threading.Event, group: Group | None = None) -> None:
        self.job, self.device, self.drain, self.group = job, device, drain, group or Group()
        config, threads = job.training, max(1, int(job.workers.cpus))
        images = Images(job.shards, config.pictures, config.seed, config.held_out, threads, config.shuffle, cache=0)
        self.feed = Feed(images, device, config.seed)
        if config.evaluation.data:
            others = Images(job.validation, config.evaluation.data, config.seed, 0, threads, cache=0)
            self.held_out, self.places = Feed(others, device, config.seed), list(others.every)
        else:
            again = Images(job.shards, config.pictures, config.seed, config.held_out, threads, config.shuffle)
            self.held_out = self.feed if self.feed.resident else Feed(again, device, config.seed, resident=False)
            self.places = images.held_out.tolist()

    def __call__(self, unit: TrainingUnit) -> Iterator[TrainingEvent]:
        """Train the model and store it. Yields its progress. Raises Drained, ShardUnusable.

        In a group every worker yields events; those of the first worker are shown.
        """
        return ClassifierAttempt(self, unit).run()


class ClassifierAttempt:
    """Hold one attempt at training a model."""

    def __init__(self, trainer: ClassifierTrainer, unit: TrainingUnit) -> None:
        self.trainer, self.job, self.group, self.unit = trainer, trainer.job, trainer.group, unit
        self.config, self.count, self.store = self.job.training, self.job.steps, Store(self.job.store)
        self.steps = Steps(self.config, self.count, trainer.device, self.group)
        self.curve = curves.blank(self.count, len(self.evaluations), len(self.config.evaluation.k), trainer.device)
        parts = self.steps.parts() | {"curve": checkpoint.Plain(self.curve)}
        self.checkpoint = checkpoint.TrainingCheckpoint(
            self.store, unit.name, self.job.identity, self.count, self.config.batch, parts
        )
        self.step = 0
        self.began = self.reported = time.monotonic()

    @property
    def evaluations(self) -> list[int]:
        """Return the steps that an evaluation follows, the last step among them."""
        every = self.config.evaluation.every or self.count
        return [*range(every, self.count, every), self.count]

    def run(self) -> Iterator[TrainingEvent]:
        """Train from the checkpoint, or from the start, to the end."""
        first = self.step = self.checkpoint.resume()
        with checkpoint.reproducible(), torch.random.fork_rng():
            for batch in self.trainer.feed.batches(first, self.count, self.config.batch, self.group.rank, self.group.size):
                self._learn(batch)
                if self.step in self.evaluations:
                    yield self._progress()
                    yield self._evaluate()
                elif time.monotonic() - self.reported > REPORT_SECONDS:
                    yield self._progress()
                if self._must_leave():
                    raise Drained(self.unit.name)
        if self.group.first:
            yield ClassifierTrained(self.unit, self._finish(), self.step - first, time.monotonic() - self.began)

    def _must_leave(self) -> bool:
        """Write the checkpoint if it is time to, and return whether the training was asked to leave."""
        leave = self.step < self.count and self.group.agreed(self.trainer.drain.is_set(), self.step, self.trainer.device)
        if self.group.first and (leave or time.monotonic() - self.checkpoint.at > self.config.checkpoint_seconds):
            self.checkpoint.save(self.step)
        return leave

    def _learn(self, batch: Batch | None) -> None:
        """Take one step. A batch without a readable image only counts as a step."""
        if batch is not None:
            self.curve["loss"][self.step], self.curve["right"][self.step] = self.steps.take(batch, self.step)
        elif self.group.size > 1:
            raise ValueError(f"a part of step {self.step} has no readable image: mend the shards, or use fewer workers")
        self.step += 1

    def _progress(self) -> ClassifierProgress:
        self.reported = time.monotonic()
        loss, right = (float(self.curve[name][self.step - 1]) for name in ("loss", "right"))
        return ClassifierProgress(self.unit, self.step, self.count, loss, right, self.steps.clock.speed())

    def _evaluate(self) -> Evaluated:
        """Measure the accuracy on the images held out."""
        self.steps.clock.pause()
        began, config = time.monotonic(), self.config.evaluation
        self.group.agree(self.steps.network)
        with self.steps.result():
            shares = [self.steps.accuracy(self.trainer.held_out, self.trainer.places, k, config.draws) for k in config.k]
        self.curve["accuracy"][self.evaluations.index(self.step)] = torch.tensor(shares, dtype=torch.float64, device="cpu")
        return Evaluated(self.unit, self.step, dict(zip(config.k, shares, strict=True)), time.monotonic() - began)

    def _finish(self) -> Manifest:
        """Write curves, weights and manifest. Stored weights mean that the training is done, so the curves come first."""
        self.store.replace(curves.FILE, curves.encode(self.curve, self.evaluations, self.config.evaluation.k))
        half = self.config.store_as == "float16"
        with self.steps.result() as network:
            state = {name: value.half() if half and value.is_floating_point() else value.clone()
                     for name, value in network.state_dict().items()}  # fmt: skip
        manifest = self._manifest()
        self.store.create(weights.FILE, weights.encode(manifest, state))
        weights.write_manifest(self.job.store)
        self.checkpoint.remove()
        return manifest

    def _manifest(self) -> Manifest:
        """Return what is known of the model; see `pipeline.models.weights.Manifest`."""
        model = self.config.model.model_dump(mode="json", include={"architecture", "classes", "mean", "std"})
        accuracy = self.curve["accuracy"][-1].tolist()
        file = self.config.model_dump(mode="json", exclude={"store", "workers", "checkpoint_seconds"})
        return {
            "model": model,
            "images": {"resize": self.config.data.resize, "crop": self.config.data.crop, "count": self.job.images},
            "training": {
                "file": file,
                "identity": self.job.identity,
                "data": self.job.data,
                "steps": self.count,
                "definitions": self.job.versions,
            },
            "accuracy": {str(k): share for k, share in zip(self.config.evaluation.k, accuracy, strict=True)},
            "precision": str(self.steps.half or torch.float32).removeprefix("torch."),
            "device": provenance.device_name(self.trainer.device),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
        }
