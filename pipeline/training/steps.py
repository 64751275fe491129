"""Take the steps of a classifier's training on a device: network, optimiser, and all that a step changes. Without files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi

import torch
from torch import Tensor, nn

from bart import Barrage, Classifier, native_half, rng
from bart.classifier import Normalised, layout_of
from bart.training import Average, decayed, evaluating, norms
from pipeline.config.classifier_training import ClassifierTraining, Optimizer
from pipeline.data.loader import Batch, Feed
from pipeline.models import loading
from pipeline.training import checkpoint
from pipeline.training.device_time import DeviceClock
from pipeline.training.process_group import Group

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Steps:
    """Hold a network in training, by a resolved training file, in `steps` steps; alone or as one worker of a group.

    network     the classifier
    half        the precision in which it is trained; None: that of its weights
    clock       marks `lesson` when the network is about to be called, `bare` when a step is done
    """

    def __init__(self, config: ClassifierTraining, steps: int, device: torch.device, group: Group) -> None:
        self.config, self.steps, self.device, self.group = config, steps, device, group
        self.half = native_half(device) if config.precision == "auto" else PRECISIONS[config.precision]
        self._module = group.joined(loading.build(config.model, config.seed), device)
        with evaluating(self._module):
            layout = layout_of(self._module, (config.data.crop, config.data.crop))
        wrapping = *config.model.normalisation, self.half, layout
        self.network = Normalised(self._module, *wrapping).to(device).train()
        if config.batch_norm == "frozen":
            for norm in norms(self._module):
                norm.eval()
        self._shared = Normalised(group.parallel(self._module, device), *wrapping).to(device)
        self._teacher = self._load_teacher()
        self._optimizer = optimizer(self._module, config.optimizer, fused=device.type == "cuda")
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.half is torch.float16)
        self._average = Average(self._module, config.average) if config.average else None
        self.clock = DeviceClock(device)

    def _load_teacher(self) -> Classifier | None:
        teacher, crop = self.config.distill.teacher if self.config.distill else None, self.config.data.crop
        if teacher is None:
            return None
        return Classifier(loading.build(teacher), *teacher.normalisation, (crop, crop), self.half).to(self.device)

    def parts(self) -> dict[str, checkpoint.Part]:
        """Return all that a step changes, for the checkpoint."""
        return {
            "network": checkpoint.Network(self._module),
            "optimizer": checkpoint.Optimizer(self._optimizer),
            "scaler": checkpoint.Scaler(self._scaler),
            "average": checkpoint.Plain(self._average.tensors if self._average else {}),
        }

    def take(self, batch: Batch, step: int) -> Tensor:
        """Take a step with this worker's part of its batch.

        Returns the loss and the share of images that were classified right as shown, (2,), over all workers. Waits for no
        device.
        """
        torch.manual_seed(rng.key(self.config.seed, "step", step, self.group.rank))  # for dropout inside the network
        for settings in self._optimizer.param_groups:
            settings["lr"] = rate(self.config.optimizer, step, self.steps)
        count = self.group.total(torch.full((), float(len(batch.label)), device=self.device, dtype=torch.float32))
        sums = torch.zeros(2, device=self.device, dtype=torch.float32)
        parts = batch.split(-(-len(batch.label) // self.config.accumulate))
        self.clock.mark("rest")
        for number, part in enumerate(parts):
            with self.group.exchange_last(self._shared.model, last=number == len(parts) - 1):
                sums += self._backward(part, step, count)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        if self._average:
            self._average.update()
        self.clock.mark("bare", self.group.size * len(batch.label))
        return self.group.total(sums) / count

    def _backward(self, batch: Batch, step: int, count: Tensor) -> Tensor:
        """Add the gradient of a part of a batch that has `count` images over all workers.

        Returns the sum of the losses, and how many images were classified right, (2,).
        """
        keys = batch.keys.map(rng.fold, "step").map(rng.fold, step)
        augment = self.config.augmentation
        x = (augment(batch.pixels, keys.device) if augment else batch.pixels).float() / 255
        with torch.no_grad():
            teacher = self._teacher.fast(x) if self._teacher else None
        self.clock.mark("rest")
        shown = self.config.lesson(step)(self.network, x, batch.label, keys, len(x) * self.config.draws)
        self.clock.mark("lesson")
        logits = self._shared.fast(shown)
        loss = self.config.objective(logits, batch.label, teacher).sum()
        self._scaler.scale(loss * (self.group.size / count)).backward()  # the workers' mean is taken of it
        self.clock.mark("bare")
        return torch.stack([loss.detach(), (logits.detach().argmax(1) == batch.label).sum()])

    @contextmanager
    def result(self) -> Iterator[nn.Module]:
        """Return the network with the weights that it will be used with: their moving average, if there is one."""
        if self._average is None:
            yield self._module
            return
        with self._average.used():
            yield self._module

    @torch.no_grad()
    def accuracy(self, feed: Feed, places: list[int], k: int, draws: int) -> float:
        """Return the share of draws, in [0, 1], that are classified right behind k transforms, in the model's precision.

        `places` are positions of images in `feed`, which were held out of training; `draws` of each, one where k = 0. NaN if no
        image can be read.
        """
        barrage = Barrage(k, self.config.barrage.transforms) if self.config.barrage else Barrage(k)
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        mine = places[self.group.rank :: self.group.size]
        with evaluating(self.network):
            for start in range(0, len(mine), self.config.batch):
                batch = feed.at(mine[start : start + self.config.batch])
                if batch is not None:
                    x = self._middle(batch.pixels).float() / 255
                    for draw in range(draws if k else 1):
                        keys = batch.keys.map(rng.fold, "evaluation").map(rng.fold, draw)
                        shown = barrage.apply(x, barrage.draw(keys, (x.shape[-2], x.shape[-1])))
                        sums[0] += (self.network(shown).argmax(1) == batch.label).sum()
                        sums[1] += len(x)
        right, count = self.group.total(sums).tolist()
        return right / count if count else float("nan")

    def _middle(self, pixels: Tensor) -> Tensor:
        """Return the middle window of pictures that were decoded with a margin, (n, 3, crop, crop)."""
        cut = (pixels.shape[-1] - self.config.data.crop) // 2
        return pixels[..., cut : cut + self.config.data.crop, cut : cut + self.config.data.crop]


def optimizer(network: nn.Module, config: Optimizer, fused: bool = False) -> torch.optim.Optimizer:
    """Return the optimiser of a network; weight decay is for convolutions and matrices alone."""
    heavy, light = decayed(network)
    groups = [{"params": heavy, "weight_decay": config.weight_decay}, {"params": light, "weight_decay": 0.0}]
    if config.kind == "sgd":
        momentum = config.momentum
        return torch.optim.SGD(groups, config.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=fused or None)
    return (torch.optim.Adam if config.kind == "adam" else torch.optim.AdamW)(groups, config.learning_rate, fused=fused or None)


def rate(config: Optimizer, step: int, steps: int) -> float:
    """Return the learning rate of a step: it rises evenly in the warm-up, then stays, or falls to 0 along half a cosine."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (1 + cos(pi * (step - config.warm_up) / max(1, steps - config.warm_up))) / 2
