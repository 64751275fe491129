"""The training of one BPDA network, from shards to weights. No Ray: the same code runs in an actor and under a debugger."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, mse_loss

from bart import TRANSFORMS, BpdaNet, Gradient, Transform, rng
from bart.bpda.policies import network
from bart.types import Params
from pipeline import provenance
from pipeline.data.training_images import Image, Images
from pipeline.errors import Drained
from pipeline.models import bpda_networks
from pipeline.models.bpda_networks import Entry
from pipeline.store.layout import Store
from pipeline.training import checkpoint
from pipeline.training.bpda_job import TrainingJob

RECENT = 100
"""Batches over which the train error is the mean."""

REPORT_SECONDS = 1.0
"""Between two looks at the loss, each of which waits for the device."""


@dataclass(frozen=True)
class Step:
    """How far a training is; `fresh` steps and `seconds` are of this attempt, without what a checkpoint brought."""

    transform: str
    step: int
    fresh: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A network whose weights are in the store."""

    entry: Entry
    fresh: int
    seconds: float


def training(job: TrainingJob, device: torch.device, drain: threading.Event) -> "Trainer":
    """The work of a training, as executors want it."""
    return Trainer(job, device, drain)


class Trainer:
    """A device with the images of a job at hand; called with a transform's name, it trains that network."""

    def __init__(self, job: TrainingJob, device: torch.device, drain: threading.Event) -> None:
        self.job, self.device, self.drain = job, device, drain
        told, threads = job.training, max(1, int(job.workers.cpus))
        self.images = Images(job.shards, told.data, told.seed, told.held_out, threads)

    def __call__(self, name: str) -> Iterator[Step | Trained]:
        """Trains a network and puts it into the store; reports now and then. Raises Drained, ShardUnusable."""
        return _Attempt(self, TRANSFORMS[name]).run()


class _Example(NamedTuple):
    """Images (n, 3, h, w) in [0, 1], parameters, P(t) (n, |P|), and what the transform makes of them, (n, 3, h, w)."""

    x: Tensor
    params: Params
    told: Tensor
    y: Tensor


class _Attempt:
    """A network in the making."""

    def __init__(self, trainer: Trainer, transform: Transform) -> None:
        self.trainer, self.transform, self.told = trainer, transform, trainer.job.training
        self.store, self.device = Store(trainer.job.store), trainer.device
        self.net = BpdaNet(transform.name, rng.key(self.told.seed, "weights", transform.name)).to(self.device).train()
        self.adam = torch.optim.Adam(self.net.parameters(), self.told.learning_rate)
        self.recent = torch.zeros(RECENT, dtype=torch.float64, device=self.device)
        parts: dict[str, checkpoint.Part] = {
            "net": checkpoint.Network(self.net),
            "adam": checkpoint.Optimizer(self.adam),
            "recent": checkpoint.Plain({"loss": self.recent}),
        }
        self.saved = checkpoint.Saved(self.store, transform.name, trainer.job.identity, self.told.steps, self.told.batch, parts)
        self.step = 0
        self.began = self.said = time.monotonic()

    def run(self) -> Iterator[Step | Trained]:
        first = self.step = self.saved.resume()
        for batch in self.trainer.images.batches(self.step, self.told.steps, self.told.batch):
            self._learn(batch)
            now = time.monotonic()
            if self.trainer.drain.is_set() and self.step < self.told.steps:
                self.saved.save(self.step)
                raise Drained(self.transform.name)
            if now - self.saved.at > self.told.checkpoint_seconds:
                self.saved.save(self.step)
            if now - self.said > REPORT_SECONDS:
                self.said = now
                loss = float(self.recent[(self.step - 1) % RECENT])
                yield Step(self.transform.name, self.step, self.step - first, loss, now - self.began)
        entry = self._examined()
        self.store.create(bpda_networks.file_name(self.transform.name), bpda_networks.encode(entry, self.net.state_dict()))
        self.saved.remove()
        yield Trained(entry, self.step - first, time.monotonic() - self.began)

    def _learn(self, batch: list[Image]) -> None:
        """One step of Adam. A batch without a readable image changes nothing but the count."""
        if batch:
            example = self._example(batch, "step", self.step)
            with checkpoint.reproducible():
                loss = mse_loss(self.net(example.x, example.told), example.y)
                self.adam.zero_grad()
                loss.backward()
                self.adam.step()
            self.recent[self.step % RECENT] = loss.detach()
        self.step += 1

    def _example(self, batch: list[Image], *purpose: int | str) -> _Example:
        """What is to be learnt of a batch; the parameters follow from the seed, the transform, the purpose and the image."""
        x = torch.from_numpy(np.stack([image.pixels for image in batch])).to(self.device).float() / 255
        size = (x.shape[-2], x.shape[-1])
        params = self.transform.draw(self._keys(batch, *purpose), size)
        with torch.no_grad():
            return _Example(x, params, self.transform.conditioning(params, size), self.transform.apply(x, params))

    def _keys(self, batch: list[Image], *purpose: int | str) -> Tensor:
        of = (self.told.seed, self.transform.name, *purpose)
        return torch.tensor([rng.key(*of, image.key) for image in batch]).to(self.device)

    def _examined(self) -> Entry:
        """The network measured on the images kept out."""
        self.net.eval()
        held = self.trainer.images.held_out.tolist()
        found, count = torch.zeros(4, dtype=torch.float64), 0
        for start in range(0, len(held), self.told.batch):
            batch = self.trainer.images.read(held[start : start + self.told.batch])
            if batch:
                found += self._measured(batch)
                count += len(batch)
        if not count:
            raise ValueError(
                f"none of the {len(held)} images kept out of training can be read: raise held_out, or mend the shards"
            )
        error, identity_error, cosine, identity_cosine = (found / count).tolist()
        exact = self.transform.gradient is Gradient.EXACT
        job = self.trainer.job
        return Entry(
            transform=self.transform.name,
            maxima=dict(self.transform.maxima),
            size=self.told.data.crop,
            steps=self.told.steps,
            seed=self.told.seed,
            data=job.data,
            training=job.identity,
            train_error=float(self.recent[: self.told.steps].mean()),
            held_out=count,
            error=error,
            identity_error=identity_error,
            cosine=cosine if exact else None,
            identity_cosine=identity_cosine if exact else None,
            device=provenance.device_name(self.device),
            commit=provenance.commit(),
            versions=provenance.versions(),
        )

    def _measured(self, batch: list[Image]) -> Tensor:
        """Sums over images: the network's error and the identity's; the cosines of their gradients with the exact one."""
        x, params, told, y = self._example(batch, "held out")
        with torch.no_grad():
            errors = [(guess - y).square().flatten(1).mean(1) for guess in (self.net(x, told), x)]
        if self.transform.gradient is not Gradient.EXACT:
            return torch.stack([*errors, *(torch.zeros_like(e) for e in errors)]).double().sum(1).cpu()
        cotangent = rng.normal_field(self._keys(batch, "cotangent"), tuple(x.shape[1:]))
        leaf, nets = x.requires_grad_(), {self.transform.name: self.net}
        exact, imitated = (
            torch.autograd.grad(value, leaf, cotangent)[0].flatten(1)
            for value in (self.transform.apply(leaf, params), network(self.transform, leaf, params, nets))
        )
        cosines = [cosine_similarity(guess, exact, dim=1) for guess in (imitated, cotangent.flatten(1))]
        return torch.stack([*errors, *cosines]).double().sum(1).cpu()
