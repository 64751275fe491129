"""Train one BPDA network, from shards to weights. Without Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, mse_loss

from bart import TRANSFORMS, BpdaNet, Gradient, rng
from bart.bpda.policies import network
from bart.types import Params
from pipeline import provenance
from pipeline.data.training_images import Image, Images
from pipeline.errors import Drained
from pipeline.execution import Event
from pipeline.models import bpda_networks
from pipeline.models.bpda_networks import Entry
from pipeline.store.layout import Store
from pipeline.training import checkpoint
from pipeline.training.bpda_job import BpdaJob
from pipeline.training.unit import TrainingUnit

RECENT = 100
"""Last batches whose mean loss is the train error."""

REPORT_SECONDS = 1.0
"""Between two reports of the loss, each of which waits for the device."""


@dataclass(frozen=True)
class NetworkProgress(Event[TrainingUnit]):
    """Report how far the training of a network is."""

    step: int
    fresh: int
    """Steps of this attempt, without those before its checkpoint; likewise `seconds`."""
    loss: float
    """Mean squared error of the last batch."""
    seconds: float


@dataclass(frozen=True)
class NetworkTrained(Event[TrainingUnit]):
    """Report that the weights of a network are in the store; `fresh` and `seconds` as of `NetworkProgress`."""

    entry: Entry
    fresh: int
    seconds: float

    ends: ClassVar[bool] = True


def begin_bpda(job: BpdaJob, device: torch.device, drain: threading.Event) -> "BpdaTrainer":
    """Return the function that trains a network on `device`. Executors call this once for each worker."""
    return BpdaTrainer(job, device, drain)


class BpdaTrainer:
    """Hold a device and the images of a job. A call with a unit trains the network of that transform."""

    def __init__(self, job: BpdaJob, device: torch.device, drain: threading.Event) -> None:
        self.job, self.device, self.drain = job, device, drain
        config, threads = job.training, max(1, int(job.workers.cpus))
        self.images = Images(job.shards, config.data, config.seed, config.held_out, threads)

    def __call__(self, unit: TrainingUnit) -> Iterator[NetworkProgress | NetworkTrained]:
        """Train a network and store it. Yields its progress. Raises Drained, ShardUnusable."""
        return NetworkAttempt(self, unit).run()


class _Example(NamedTuple):
    """Hold images and what a transform makes of them."""

    x: Tensor
    """Images (n, 3, h, w) in [0, 1]."""
    params: Params
    """The parameters that were drawn, one set for each image."""
    conditioning: Tensor
    """P(t), the parameters as the network gets them, (n, |P|)."""
    y: Tensor
    """The transformed images before they are clipped, (n, 3, h, w)."""


class NetworkAttempt:
    """Hold one attempt at training a network."""

    def __init__(self, trainer: BpdaTrainer, unit: TrainingUnit) -> None:
        self.trainer, self.unit, self.transform = trainer, unit, TRANSFORMS[unit.name]
        self.config = trainer.job.training
        self.store, self.device = Store(trainer.job.store), trainer.device
        self.net = BpdaNet(unit.name, rng.key(self.config.seed, "weights", unit.name)).to(self.device).train()
        self.adam = torch.optim.Adam(self.net.parameters(), self.config.learning_rate)
        self.recent = torch.zeros(RECENT, dtype=torch.float64, device=self.device)
        parts: dict[str, checkpoint.Part] = {
            "net": checkpoint.Network(self.net),
            "adam": checkpoint.Optimizer(self.adam),
            "recent": checkpoint.Plain({"loss": self.recent}),
        }
        self.checkpoint = checkpoint.TrainingCheckpoint(
            self.store, unit.name, trainer.job.identity_of(unit.name), self.config.steps, self.config.batch, parts
        )
        self.step = 0
        self.began = self.reported = time.monotonic()

    def run(self) -> Iterator[NetworkProgress | NetworkTrained]:
        """Train from the checkpoint, or from the start, to the end."""
        first = self.step = self.checkpoint.resume()
        for batch in self.trainer.images.batches(self.step, self.config.steps, self.config.batch):
            self._learn(batch)
            now = time.monotonic()
            if self.trainer.drain.is_set() and self.step < self.config.steps:
                self.checkpoint.save(self.step)
                raise Drained(self.transform.name)
            if now - self.checkpoint.at > self.config.checkpoint_seconds:
                self.checkpoint.save(self.step)
            if now - self.reported > REPORT_SECONDS:
                self.reported = now
                loss = float(self.recent[(self.step - 1) % RECENT])
                yield NetworkProgress(self.unit, self.step, self.step - first, loss, now - self.began)
        entry = self._evaluated()
        self.store.create(bpda_networks.file_name(self.transform.name), bpda_networks.encode(entry, self.net.state_dict()))
        self.checkpoint.remove()
        yield NetworkTrained(self.unit, entry, self.step - first, time.monotonic() - self.began)

    def _learn(self, batch: list[Image]) -> None:
        """Take one step of Adam. A batch without a readable image only counts as a step."""
        if batch:
            example = self._example(batch, "step", self.step)
            with checkpoint.reproducible():
                loss = mse_loss(self.net(example.x, example.conditioning), example.y)
                self.adam.zero_grad()
                loss.backward()
                self.adam.step()
            self.recent[self.step % RECENT] = loss.detach()
        self.step += 1

    def _example(self, batch: list[Image], *purpose: int | str) -> _Example:
        """Return what the network learns from a batch. The parameters follow from seed, transform, purpose and image."""
        x = torch.from_numpy(np.stack([image.pixels for image in batch])).to(self.device).float() / 255
        size = (x.shape[-2], x.shape[-1])
        params = self.transform.draw(self._keys(batch, *purpose), size)
        with torch.no_grad():
            return _Example(x, params, self.transform.conditioning(params, size), self.transform.unclipped(x, params))

    def _keys(self, batch: list[Image], *purpose: int | str) -> Tensor:
        path = (self.config.seed, self.transform.name, *purpose)
        return torch.tensor([rng.key(*path, image.key) for image in batch], dtype=torch.int64, device="cpu").to(self.device)

    def _evaluated(self) -> Entry:
        """Measure the network on the images held out of training. Raises ValueError if none can be read."""
        self.net.eval()
        held = self.trainer.images.held_out.tolist()
        sums, count = torch.zeros(4, dtype=torch.float64, device="cpu"), 0
        for start in range(0, len(held), self.config.batch):
            batch = self.trainer.images.read(held[start : start + self.config.batch])
            if batch:
                sums += self._measured(batch)
                count += len(batch)
        if not count:
            raise ValueError(
                f"none of the {len(held)} images held out of training can be read: raise held_out, or mend the shards"
            )
        error, identity_error, cosine, identity_cosine = (sums / count).tolist()
        exact = self.transform.gradient is Gradient.EXACT
        job = self.trainer.job
        return Entry(
            transform=self.transform.name,
            maxima=dict(self.transform.maxima),
            size=self.config.data.crop,
            steps=self.config.steps,
            seed=self.config.seed,
            data=job.data,
            training=job.identity,
            train_error=float(self.recent[: self.config.steps].mean()),
            held_out=count,
            error=error,
            identity_error=identity_error,
            cosine=cosine if exact else None,
            identity_cosine=identity_cosine if exact else None,
            device=provenance.device_name(self.device),
            commit=provenance.commit(),
            versions=provenance.versions(),
            version=TRANSFORMS.version(self.transform.name),
        )

    def _measured(self, batch: list[Image]) -> Tensor:
        """Return sums over a batch, (4,): errors of network and identity, cosines of both gradients with the exact one."""
        x, params, conditioning, y = self._example(batch, "held out")
        with torch.no_grad():
            errors = [(guess - y).square().flatten(1).mean(1) for guess in (self.net(x, conditioning), x)]
        if self.transform.gradient is not Gradient.EXACT:
            return torch.stack([*errors, *(torch.zeros_like(e) for e in errors)]).double().sum(1).cpu()
        cotangent = rng.normal_field(self._keys(batch, "cotangent"), tuple(x.shape[1:]))
        leaf, nets = x.requires_grad_(), {self.transform.name: self.net}
        exact, imitated = (
            torch.autograd.grad(value, leaf, cotangent)[0].flatten(1)
            for value in (self.transform.unclipped(leaf, params), network(self.transform, leaf, params, nets))
        )
        cosines = [cosine_similarity(guess, exact, dim=1) for guess in (imitated, cotangent.flatten(1))]
        return torch.stack([*errors, *cosines]).double().sum(1).cpu()
