"""The training of a classifier, from shards to weights. No Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

from bart import Barrage, Classifier, native_half, rng
from bart.classifier import Normalised
from bart.training import Average, decayed, evaluating, norms
from pipeline import curves, models, provenance, saved, weights
from pipeline.batches import Images
from pipeline.feed import Batch, Feed
from pipeline.group import Group
from pipeline.recipe import Optimizer, RecipeJob
from pipeline.store import Store
from pipeline.trainer import REPORT_SECONDS
from pipeline.weights import Manifest
from pipeline.worker import Drained

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Pace:
    """`images` a second, and the share of the device's time that goes into the bare step: network forward, backward, update."""

    images: float
    bare: float


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
        """Trains the model and puts it into the store; reports now and then. Raises Drained, shards.Changed.

        In a group every worker gives events, of which the first worker's are those to show.
        """
        return _Attempt(self, unit).run()


class _Attempt:
    """A model in the making."""

    def __init__(self, learner: Learner, unit: str) -> None:
        self.learner, self.job, self.told, self.device = learner, learner.job, learner.job.recipe, learner.device
        self.store, self.unit, self.steps = Store(self.job.store), unit, self.job.steps
        self.half = native_half(self.device) if self.told.precision == "auto" else PRECISIONS[self.told.precision]
        told = self.told.model
        self.group = learner.group
        network = self.group.joined(models.build(told, self.told.seed), self.device)
        self.network = Normalised(network, *told.normalisation, self.half).to(self.device).train()
        if self.told.batch_norm == "frozen":
            for norm in norms(network):
                norm.eval()
        self.shared = Normalised(self.group.parallel(network, self.device), *told.normalisation, self.half).to(self.device)
        self.teacher = self._teacher()
        self.optimizer = optimizer(network, self.told.optimizer, fused=self.device.type == "cuda")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.half is torch.float16)
        self.average = Average(network, self.told.average) if self.told.average else None
        self.curve = curves.blank(self.steps, self.looks, len(self.told.evaluation.k), self.device)
        parts: dict[str, saved.Part] = {
            "network": saved.Network(network),
            "optimizer": saved.Optimizer(self.optimizer),
            "scaler": saved.Scaler(self.scaler),
            "curve": saved.Plain(self.curve),
            "average": saved.Plain(self.average.tensors if self.average else {}),
        }
        self.saved = saved.Saved(self.store, unit, self.job.identity, self.steps, self.told.batch, parts)
        self.clock = Clock(self.device)
        self.step = 0
        self.began = self.said = time.monotonic()

    @property
    def looks(self) -> list[int]:
        """The steps after which the accuracy is looked at."""
        every = self.told.evaluation.every or self.steps
        return [*range(every, self.steps, every), self.steps]

    def _teacher(self) -> Classifier | None:
        told, crop = self.told.distill, self.told.data.crop
        if told is None or told.teacher is None:
            return None
        network = models.build(told.teacher)
        return Classifier(network, *told.teacher.normalisation, (crop, crop), self.half).to(self.device)

    def run(self) -> Iterator[Learning | Looked | Learned]:
        first = self.step = self.saved.resume()
        with saved.reproducible(), torch.random.fork_rng():
            for batch in self.learner.feed.batches(first, self.steps, self.told.batch, self.group.rank, self.group.size):
                self._learn(batch)
                if self.step in self.looks:
                    yield self._report()
                    yield self._look()
                elif time.monotonic() - self.said > REPORT_SECONDS:
                    yield self._report()
                if self._due_to_leave():
                    raise Drained(self.unit)
            if first == self.steps:  # it had come to the end, but not to its file
                yield self._look()
        if self.group.first:
            yield Learned(self._finish(), self.step - first, time.monotonic() - self.began)

    def _due_to_leave(self) -> bool:
        """Writes the checkpoint where it is time to; whether the training has been told to leave."""
        leave = self.step < self.steps and self.group.agreed(self.learner.drain.is_set(), self.step, self.device)
        if self.group.first and (leave or time.monotonic() - self.saved.at > self.told.checkpoint_seconds):
            self.saved.save(self.step)
        return leave

    def _learn(self, batch: Batch | None) -> None:
        """One step. A batch without a readable image changes nothing but the count."""
        if batch is None and self.group.size > 1:
            raise ValueError(f"a part of step {self.step} has no readable image: mend the shards, or use fewer workers")
        if batch is not None:
            torch.manual_seed(rng.key(self.told.seed, "step", self.step, self.group.rank))  # for dropout inside the network
            self._set_rate()
            count = self.group.total(torch.full((), float(len(batch.label)), device=self.device))
            found = torch.zeros(2, device=self.device)
            parts = batch.split(-(-len(batch.label) // self.told.accumulate))
            for number, part in enumerate(parts):
                with self.group.apart(self.shared.model, last=number == len(parts) - 1):
                    found += self._backward(part, count)
            loss, right = self.group.total(found) / count
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            if self.average:
                self.average.update()
            self.curve["loss"][self.step], self.curve["right"][self.step] = loss, right
            self.clock.mark("bare", self.group.size * len(batch.label))
        self.step += 1

    def _backward(self, batch: Batch, count: Tensor) -> Tensor:
        """Adds the gradient of a part of a batch of `count` images, over all workers; gives the sum of the losses, and how many
        were right, (2,)."""
        self.clock.mark("bare")
        keys = batch.keys.map(rng.fold, "step").map(rng.fold, self.step)
        x = self._pictures(batch.pixels, keys)
        with torch.no_grad():
            teacher = self.teacher.fast(x) if self.teacher else None
        shown = self.told.lesson(self.step)(self.network, x, batch.label, keys, len(x) * self.told.draws)
        self.clock.mark("lesson")
        logits = self.shared.fast(shown)
        loss = self.told.objective(logits, batch.label, teacher).sum()
        self.scaler.scale(loss * (self.group.size / count)).backward()  # of which the workers' mean is taken
        return torch.stack([loss.detach(), (logits.detach().argmax(1) == batch.label).sum()])

    def _pictures(self, pixels: Tensor, keys: rng.Mirror) -> Tensor:
        augment = self.told.augmentation
        return (augment(pixels, keys.device) if augment else pixels).float() / 255

    def _set_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.told.optimizer, self.step, self.steps)

    def _report(self) -> Learning:
        loss, right = (float(self.curve[name][self.step - 1]) for name in ("loss", "right"))
        self._wait()
        self.said = time.monotonic()
        return Learning(self.step, self.steps, loss, right, self.clock.pace())

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _look(self) -> Looked:
        """Looks at the accuracy, by the averaged weights where there are any."""
        self._wait()
        self.clock.pause()
        began, place = time.monotonic(), self.looks.index(self.step)
        self.group.agree(self.network)
        with self.average.used() if self.average else nullcontext():
            found = [self._accuracy(k) for k in self.told.evaluation.k]
        self.curve["accuracy"][place] = torch.tensor(found, dtype=torch.float64)
        return Looked(self.step, dict(zip(self.told.evaluation.k, found, strict=True)), time.monotonic() - began)

    @torch.no_grad()
    def _accuracy(self, k: int) -> float:
        """The share of draws of images kept out that are right behind k transforms, in the network's own precision."""
        barrage = Barrage(k, self.told.barrage.transforms if self.told.barrage else Barrage(0).transforms)
        places, draws = self.learner.places[self.group.rank :: self.group.size], self.told.evaluation.draws if k else 1
        found = torch.zeros(2, dtype=torch.float64, device=self.device)
        with evaluating(self.network):
            for start in range(0, len(places), self.told.batch):
                batch = self.learner.kept_out.at(places[start : start + self.told.batch])
                if batch is not None:
                    x = self._middle(batch.pixels).float() / 255
                    found[1] += draws * len(x)
                    for draw in range(draws):
                        keys = batch.keys.map(rng.fold, "evaluation").map(rng.fold, draw)
                        shown = barrage(x, barrage.draw(keys, (x.shape[-2], x.shape[-1])))
                        found[0] += (self.network(shown).argmax(1) == batch.label).sum()
        right, count = self.group.total(found).tolist()
        return right / count if count else float("nan")

    def _middle(self, pixels: Tensor) -> Tensor:
        """The window of a picture that was decoded with a margin."""
        cut = (pixels.shape[-1] - self.told.data.crop) // 2
        return pixels[..., cut : cut + self.told.data.crop, cut : cut + self.told.data.crop]

    def _finish(self) -> Manifest:
        """Writes curves, weights and manifest; the weights, which mean that it is done, once the curves are there."""
        self.store.replace(curves.FILE, curves.encode(self.curve, self.looks, self.told.evaluation.k))
        with self.average.used() if self.average else nullcontext():
            state = {name: value.detach().cpu().clone() for name, value in self.network.model.state_dict().items()}
        if self.told.store_as == "float16":
            state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
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
            "training": {"file": told, "identity": self.job.identity, "data": self.job.data, "steps": self.steps},
            "accuracy": {str(k): share for k, share in zip(self.told.evaluation.k, accuracy, strict=True)},
            "precision": str(self.half or torch.float32).removeprefix("torch."),
            "device": provenance.device_name(self.device),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
        }


def optimizer(network: torch.nn.Module, told: Optimizer, fused: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a network; weight decay is for convolutions and matrices alone."""
    heavy, light = decayed(network)
    groups = [{"params": heavy, "weight_decay": told.weight_decay}, {"params": light, "weight_decay": 0.0}]
    if told.kind == "sgd":
        momentum = told.momentum
        return torch.optim.SGD(groups, told.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=fused or None)
    return (torch.optim.Adam if told.kind == "adam" else torch.optim.AdamW)(groups, told.learning_rate, fused=fused or None)


def rate(told: Optimizer, step: int, steps: int) -> float:
    """The learning rate of a step: evenly up over the warm-up, then constant, or down to 0 along a half cosine."""
    if step < told.warm_up:
        return told.learning_rate * (step + 1) / told.warm_up
    if told.schedule == "constant":
        return told.learning_rate
    return told.learning_rate * (1 + cos(pi * (step - told.warm_up) / max(1, steps - told.warm_up))) / 2


class Clock:
    """Where the device's time goes, by marks in its queue: none of them waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: deque[tuple[str, Any]] = deque()
        self._seconds = {"bare": 0.0, "lesson": 0.0}
        self._images = 0

    def pause(self) -> None:
        """What comes before the next mark does not count."""
        self.pace()
        self._marks.clear()

    def mark(self, what: str, images: int = 0) -> None:
        """What has been at work since the last mark; and images that are through."""
        now: Any = time.perf_counter()
        if self.device.type == "cuda":
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._marks.append((what, now))
        self._images += images

    def pace(self) -> Pace:
        """So far. The device has to have been waited for."""
        cuda = self.device.type == "cuda"
        while len(self._marks) > 1:
            _, before = self._marks.popleft()
            what, after = self._marks[0]
            self._seconds[what] += before.elapsed_time(after) / 1e3 if cuda else after - before
        total = sum(self._seconds.values())
        return Pace(self._images / total, self._seconds["bare"] / total) if total else Pace(0.0, 0.0)
