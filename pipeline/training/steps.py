"""The steps of a classifier's training on a device: network, optimiser, and all that a step changes. No files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi

import torch
from torch import Tensor, nn

from bart import Barrage, Classifier, native_half, rng
from bart.classifier import Normalised
from bart.training import Average, decayed, evaluating, norms
from pipeline.config.classifier_training import Optimizer, Recipe
from pipeline.data.loader import Batch, Feed
from pipeline.models import loading
from pipeline.training import checkpoint
from pipeline.training.device_time import Clock
from pipeline.training.process_group import Group

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Steps:
    """A network in training, by a resolved recipe, in `steps` steps; alone or as one of a group.

    network     the classifier as it is
    half        the precision in which it is trained, None for its own
    clock       marks `lesson` when the network is about to be called, `bare` when a step is over
    """

    def __init__(self, recipe: Recipe, steps: int, device: torch.device, group: Group) -> None:
        self.told, self.steps, self.device, self.group = recipe, steps, device, group
        self.half = native_half(device) if recipe.precision == "auto" else PRECISIONS[recipe.precision]
        self._module = group.joined(loading.build(recipe.model, recipe.seed), device)
        self.network = Normalised(self._module, *recipe.model.normalisation, self.half).to(device).train()
        if recipe.batch_norm == "frozen":
            for norm in norms(self._module):
                norm.eval()
        self._shared = Normalised(group.parallel(self._module, device), *recipe.model.normalisation, self.half).to(device)
        self._teacher = self._taught_by()
        self._optimizer = optimizer(self._module, recipe.optimizer, fused=device.type == "cuda")
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.half is torch.float16)
        self._average = Average(self._module, recipe.average) if recipe.average else None
        self.clock = Clock(device)

    def _taught_by(self) -> Classifier | None:
        teacher, crop = self.told.distill.teacher if self.told.distill else None, self.told.data.crop
        if teacher is None:
            return None
        return Classifier(loading.build(teacher), *teacher.normalisation, (crop, crop), self.half).to(self.device)

    def parts(self) -> dict[str, checkpoint.Part]:
        """All that a step changes."""
        return {
            "network": checkpoint.Network(self._module),
            "optimizer": checkpoint.Optimizer(self._optimizer),
            "scaler": checkpoint.Scaler(self._scaler),
            "average": checkpoint.Plain(self._average.tensors if self._average else {}),
        }

    def take(self, batch: Batch, step: int) -> Tensor:
        """Takes a step with this worker's part of its batch; gives the loss, and the share of images that were right as shown,
        (2,), over all workers. Waits for no device."""
        torch.manual_seed(rng.key(self.told.seed, "step", step, self.group.rank))  # for dropout inside the network
        for settings in self._optimizer.param_groups:
            settings["lr"] = rate(self.told.optimizer, step, self.steps)
        count = self.group.total(torch.full((), float(len(batch.label)), device=self.device))
        found = torch.zeros(2, device=self.device)
        parts = batch.split(-(-len(batch.label) // self.told.accumulate))
        self.clock.mark("rest")
        for number, part in enumerate(parts):
            with self.group.apart(self._shared.model, last=number == len(parts) - 1):
                found += self._backward(part, step, count)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        if self._average:
            self._average.update()
        self.clock.mark("bare", self.group.size * len(batch.label))
        return self.group.total(found) / count

    def _backward(self, batch: Batch, step: int, count: Tensor) -> Tensor:
        """Adds the gradient of a part of a batch of `count` images, over all workers; gives the sum of the losses, and how many
        were right, (2,)."""
        keys = batch.keys.map(rng.fold, "step").map(rng.fold, step)
        augment = self.told.augmentation
        x = (augment(batch.pixels, keys.device) if augment else batch.pixels).float() / 255
        with torch.no_grad():
            teacher = self._teacher.fast(x) if self._teacher else None
        self.clock.mark("rest")
        shown = self.told.lesson(step)(self.network, x, batch.label, keys, len(x) * self.told.draws)
        self.clock.mark("lesson")
        logits = self._shared.fast(shown)
        loss = self.told.objective(logits, batch.label, teacher).sum()
        self._scaler.scale(loss * (self.group.size / count)).backward()  # of which the workers' mean is taken
        self.clock.mark("bare")
        return torch.stack([loss.detach(), (logits.detach().argmax(1) == batch.label).sum()])

    @contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The network with the weights that it will be used with: their moving average, where there is one."""
        if self._average is None:
            yield self._module
            return
        with self._average.used():
            yield self._module

    @torch.no_grad()
    def accuracy(self, feed: Feed, places: list[int], k: int, draws: int) -> float:
        """The share of draws of images kept out of training that are right behind k transforms, in the model's precision."""
        barrage = Barrage(k, self.told.barrage.transforms) if self.told.barrage else Barrage(k)
        found = torch.zeros(2, dtype=torch.float64, device=self.device)
        mine = places[self.group.rank :: self.group.size]
        with evaluating(self.network):
            for start in range(0, len(mine), self.told.batch):
                batch = feed.at(mine[start : start + self.told.batch])
                if batch is not None:
                    x = self._middle(batch.pixels).float() / 255
                    for draw in range(draws if k else 1):
                        keys = batch.keys.map(rng.fold, "evaluation").map(rng.fold, draw)
                        shown = barrage(x, barrage.draw(keys, (x.shape[-2], x.shape[-1])))
                        found[0] += (self.network(shown).argmax(1) == batch.label).sum()
                        found[1] += len(x)
        right, count = self.group.total(found).tolist()
        return right / count if count else float("nan")

    def _middle(self, pixels: Tensor) -> Tensor:
        """The window of a picture that was decoded with a margin."""
        cut = (pixels.shape[-1] - self.told.data.crop) // 2
        return pixels[..., cut : cut + self.told.data.crop, cut : cut + self.told.data.crop]


def optimizer(network: nn.Module, told: Optimizer, fused: bool = False) -> torch.optim.Optimizer:
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
