"""Define the training file of a classifier: one frozen, typed object that decides the weights."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

import bart
from bart import BART_25, Barrage
from bart.training import Augmentation, Lesson, Objective
from pipeline.config.attacks import START, STEPS, Fgsm, Pgd
from pipeline.config.campaign import Data, Model, content, validated
from pipeline.config.fields import AlsoWritten, Name, Share, Strict

EXAMPLE = "campaigns/train/cifar10-bart.yaml"


class Barrages(Strict):
    """Send every image through k transforms; k is drawn for each image and step."""

    k: Annotated[
        tuple[int, int],
        AlsoWritten(lambda value: (value, value) if isinstance(value, int) else value, lambda pair: {"type": "integer"}),
        Field(description="from, to: k is uniform, both ends included; one number: always that k"),
    ] = (0, 5)
    transforms: tuple[str, ...] = Field(BART_25, description="names of the transforms that may be drawn")
    ramp: int = Field(0, ge=0, description="steps over which the upper end grows evenly from the lower end")

    @model_validator(mode="after")
    def _possible(self) -> "Barrages":
        Barrage(self.k[1], self.transforms, self.k[0])
        return self

    def at(self, step: int) -> Barrage:
        """Return the barrage of a step."""
        low, high = self.k
        if step < self.ramp:
            high = low + (high - low + 1) * step // self.ramp
        return Barrage(min(high, self.k[1]), self.transforms, low)


class InnerPgd(Pgd):
    """Configure PGD for adversarial training: few steps, no momentum, one draw per gradient."""

    steps: int = Field(10, ge=1, description=STEPS)
    momentum: float = Field(0.0, ge=0, lt=1, description="decay of the sum of gradients; 0: only the current gradient")
    eot_draws: int = Field(1, ge=1, description="draws per gradient")


class InnerFgsm(Fgsm):
    """Configure FGSM for adversarial training, from a random start (Wong, Rice, Kolter, ICLR 2020)."""

    random_start: bool = Field(True, description=START)
    eot_draws: int = Field(1, ge=1, description="draws per gradient")


def _kind(value: Any) -> str:
    """Return the kind of an attack section; default: pgd."""
    return str(value.get("kind", "pgd") if isinstance(value, dict) else getattr(value, "kind", "pgd"))


Inner = Annotated[Annotated[InnerPgd, Tag("pgd")] | Annotated[InnerFgsm, Tag("fgsm")], Discriminator(_kind)]
"""Section of the attack inside a training; default kind: pgd."""


class Augment(Strict):
    """Shift and mirror images at random before any other change."""

    flip: bool = Field(True, description="mirror half of the images")
    margin: int = Field(
        0, ge=0, description="pixels by which the crop is shifted at random, over an image decoded larger by this margin"
    )
    pad: int = Field(
        0, ge=0, description="pixels of a further shift, over the image's reflected border; usual for small images"
    )


class Optimizer(Strict):
    """Configure how gradients change the weights."""

    kind: Literal["adam", "adamw", "sgd"] = Field("adam", description="optimiser of torch.optim")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="highest learning rate, after the warm-up")
    weight_decay: float = Field(0.0, ge=0, description="weight decay of convolutions and matrices only; decoupled in adamw")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of sgd")
    schedule: Literal["constant", "cosine"] = Field("constant", description="schedule of the learning rate; cosine ends at 0")
    warm_up: int = Field(0, ge=0, description="steps over which the learning rate grows evenly from 0")


class Distill(Strict):
    """Teach the network also the teacher's probabilities for the unchanged image."""

    weight: float = Field(0.5, gt=0, le=1, description="share of this loss in the total; the labels' loss has the rest")
    temperature: float = Field(1.0, gt=0, description="divisor of both networks' logits")
    teacher: Model | None = Field(None, description="default: the model before the training")


class Evaluation(Strict):
    """Measure the accuracy on images that are not trained on. Decides no weight."""

    data: Data | None = Field(None, description="images to measure on; default: those that `held_out` keeps out")
    every: int = Field(0, ge=0, description="steps between two measurements; 0: only at the end")
    k: tuple[int, ...] = Field((0, 5), min_length=1, description="numbers of transforms to measure with; 0: undefended")
    draws: int = Field(1, ge=1, description="draws of each image; the same in every measurement")

    @field_validator("k")
    @classmethod
    def _possible(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        for k in numbers:
            Barrage(k)
        return numbers


class ClassifierTraining(Strict):
    """The whole file. Only `barrage`: BaRT training; only `attack`: adversarial training; both: adversarial training through
    the barrage; neither: plain training."""

    kind: Literal["classifier"] = Field(description="kind of training")
    name: Name = Field(description="name of the training; default store: stores/NAME")
    seed: int = Field(0, description="seed of all randomness: order, augmentation, barrages, attacks")
    data: Data = Field(description="images, as in a campaign")
    held_out: int = Field(0, ge=0, description="number of images of `data` that are kept out of training")
    shuffle: int = Field(2048, ge=1, description="number of images that are shuffled together, in whole shards")
    model: Model = Field(description="as in a campaign; `weights: random` starts from random weights")
    epochs: float = Field(gt=0, description="passes over the images; may be a fraction")
    batch: int = Field(128, ge=2, description="images of a step, over all workers together")
    accumulate: int = Field(1, ge=1, description="parts of a batch that are computed one after the other, to save memory")
    barrage: Barrages | None = Field(None, description="defense that images go through; default: none")
    attack: Inner | None = Field(None, description="attack for adversarial training, `kind: pgd` or `fgsm`; default: none")
    distill: Distill | None = Field(None, description="learn from a teacher too; default: no")
    augment: Augment | None = Field(None, description="shift and mirror images; default: no")
    optimizer: Optimizer = Field(Optimizer(), description="optimiser and learning rate")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label that is spread evenly over all classes")
    batch_norm: Literal["update", "frozen"] = Field(
        "update",
        description="update: use each batch's statistics, as usual; frozen: keep the statistics that came with the weights",
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of a moving average of the weights, which becomes the result; 0: no average"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number type of the network; auto: the 16-bit type that the device multiplies natively"
    )
    store_as: Literal["float32", "float16"] = Field("float32", description="number type of the weights in their file")
    evaluation: Evaluation = Field(Evaluation(), description="measurements during the training")
    checkpoint_seconds: float = Field(120, gt=0, description="seconds between two checkpoints")
    store: str | None = Field(None, description="folder of the results; default: stores/NAME; --store overrides it")
    workers: Share = Field(Share(), description="how the work is spread; decides no number")

    @model_validator(mode="after")
    def _consistent(self) -> "ClassifierTraining":
        if self.accumulate > self.batch:
            raise ValueError(f"accumulate: {self.accumulate} parts of a batch of {self.batch}: use fewer parts")
        if self.evaluation.data is None and not self.held_out:
            raise ValueError("nothing to evaluate on: set evaluation.data, or keep images out of training with held_out")
        if self.attack and (self.attack.networks or self.attack.transfer or self.attack.restarts > 1):
            raise ValueError("attack: networks, transfer and restarts are for campaigns: leave them out of a training")
        return self

    @property
    def augmentation(self) -> Augmentation | None:
        """Return the augmentation, or None."""
        augment = self.augment
        return Augmentation(augment.margin, augment.pad, augment.flip) if augment else None

    @property
    def pictures(self) -> Data:
        """Return the data as it is decoded: larger than the crop by the margin for shifts."""
        return self.data.model_copy(update={"crop": self.data.crop + 2 * (self.augment.margin if self.augment else 0)})

    @property
    def objective(self) -> Objective:
        """Return the settings of the loss."""
        distill = self.distill
        weight, temperature = (distill.weight, distill.temperature) if distill else (0.0, 1.0)
        return Objective(self.label_smoothing, weight, temperature)

    def lesson(self, step: int) -> Lesson:
        """Return the barrage and the attack of a step."""
        barrage = self.barrage.at(step) if self.barrage else Barrage(0)
        return Lesson(barrage, self._attack(barrage.k > 0))

    def _attack(self, random: bool) -> bart.Attack | None:
        """Return the attack, or None; `random` says whether the defense is random."""
        return self.attack.build(random) if self.attack else None

    @property
    def draws(self) -> int:
        """Return how many draws of each image are computed together."""
        return self.attack.eot_draws if self.attack and self.barrage else 1


def load(path: str | Path) -> ClassifierTraining:
    """Return the training of a YAML file. Raises BadInput with the first mistake."""
    return validated(ClassifierTraining, content(path, "training", EXAMPLE), f"training {path}")
