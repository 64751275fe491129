"""The training of a classifier as a file: one frozen, typed object that decides the weights."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

import bart
from bart import BART_25, Barrage
from bart.training import Augmentation, Lesson, Objective
from pipeline.config.attacks import START, STEPS, Fgsm, Pgd
from pipeline.config.bpda_training import validated
from pipeline.config.campaign import Data, Model, content
from pipeline.config.fields import Name, Share, Strict

EXAMPLE = "campaigns/train/cifar10-bart.yaml"


class Barrages(Strict):
    """Every image through k transforms, k drawn for each image and step."""

    k: Annotated[
        tuple[int, int],
        BeforeValidator(lambda value: (value, value) if isinstance(value, int) else value),
        Field(description="from, to: uniform, both ends included; one number is that number always"),
    ] = (0, 5)
    transforms: tuple[str, ...] = Field(BART_25, description="names that may be drawn")
    ramp: int = Field(0, ge=0, description="steps over which the upper end grows evenly from the lower one")

    @model_validator(mode="after")
    def _possible(self) -> "Barrages":
        Barrage(self.k[1], self.transforms, self.k[0])
        return self

    def at(self, step: int) -> Barrage:
        """The barrage of a step."""
        low, high = self.k
        if step < self.ramp:
            high = low + (high - low + 1) * step // self.ramp
        return Barrage(min(high, self.k[1]), self.transforms, low)


class InnerPgd(Pgd):
    """PGD as adversarial training has it: few steps, without momentum, through one draw of a barrage."""

    steps: int = Field(10, ge=1, description=STEPS)
    momentum: float = Field(0.0, ge=0, lt=1, description="of the gradients' sum; 0 follows each gradient alone")
    eot_draws: int = Field(1, ge=1, description="draws per gradient")


class InnerFgsm(Fgsm):
    """FGSM as adversarial training has it: from a random start (Wong, Rice, Kolter, ICLR 2020)."""

    random_start: bool = Field(True, description=START)
    eot_draws: int = Field(1, ge=1, description="draws per gradient")


def _kind(value: Any) -> str:
    return str(value.get("kind", "pgd") if isinstance(value, dict) else getattr(value, "kind", "pgd"))


Inner = Annotated[Annotated[InnerPgd, Tag("pgd")] | Annotated[InnerFgsm, Tag("fgsm")], Discriminator(_kind)]
"""The attack inside a training; PGD unless told."""


class Augment(Strict):
    """Pictures moved and mirrored at random before anything else is done to them."""

    flip: bool = Field(True, description="mirror half of the pictures")
    margin: int = Field(0, ge=0, description="the window of `data.crop` moves by so many pixels over the larger picture")
    pad: int = Field(0, ge=0, description="and by so many more over its reflected border, as is usual for small images")


class Optimizer(Strict):
    """How weights follow gradients."""

    kind: Literal["adam", "adamw", "sgd"] = Field("adam", description="torch's own")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="its peak, after the warm-up")
    weight_decay: float = Field(0.0, ge=0, description="of convolutions and matrices alone; decoupled in adamw")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, Nesterov's")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate; cosine ends at 0")
    warm_up: int = Field(0, ge=0, description="steps over which the learning rate grows evenly from 0")


class Distill(Strict):
    """The network also learns the teacher's probabilities of the undisturbed image."""

    weight: float = Field(0.5, gt=0, le=1, description="share of this loss; the labels have the rest")
    temperature: float = Field(1.0, gt=0, description="by which both sides' logits are divided")
    teacher: Model | None = Field(None, description="the model as it is before the training, unless told")


class Evaluation(Strict):
    """Accuracy on images that are kept out of training. Decides no weight."""

    data: Data | None = Field(None, description="the images kept out by `held_out`, unless told")
    every: int = Field(0, ge=0, description="steps between two looks; only at the end unless told")
    k: tuple[int, ...] = Field((0, 5), min_length=1, description="transforms; 0 is undefended")
    draws: int = Field(1, ge=1, description="of each image; the same at every look")

    @field_validator("k")
    @classmethod
    def _possible(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        for k in numbers:
            Barrage(k)
        return numbers


class Recipe(Strict):
    """The whole file. `barrage` alone is BaRT fine-tuning, `attack` alone adversarial training, both are adversarial training
    through the barrage, neither is plain training."""

    kind: Literal["classifier"] = Field(description="what is trained")
    name: Name = Field(description="of the training, and of its store where none is named")
    seed: int = Field(0, description="of all randomness: order, augmentation, barrages, attacks")
    data: Data = Field(description="the images, as in a campaign")
    held_out: int = Field(0, ge=0, description="images of `data` kept out of training")
    shuffle: int = Field(2048, ge=1, description="images that are shuffled together, whole shards of them")
    model: Model = Field(description="as in a campaign; weights: random begins from nothing")
    epochs: float = Field(gt=0, description="passes over the images; a part of one will do")
    batch: int = Field(128, ge=2, description="images of a step, over all workers")
    accumulate: int = Field(1, ge=1, description="parts of a batch that are worked on one after the other, to save memory")
    barrage: Barrages | None = Field(None, description="what images go through; none unless told")
    attack: Inner | None = Field(None, description="adversarial training by `kind: pgd` or `fgsm`; none unless told")
    distill: Distill | None = Field(None, description="learning from a teacher too; not unless told")
    augment: Augment | None = Field(None, description="pictures moved and mirrored; not unless told")
    optimizer: Optimizer = Field(Optimizer(), description="how weights follow gradients")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread evenly over all classes")
    batch_norm: Literal["update", "frozen"] = Field(
        "update", description="statistics of the batch, as usual, or those that the weights came with"
    )
    average: float = Field(0.0, ge=0, lt=1, description="decay of a moving average of the weights, which is then the result")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the network's arithmetic; auto: the 16-bit type that the device multiplies natively"
    )
    store_as: Literal["float32", "float16"] = Field("float32", description="of the weights in their file")
    evaluation: Evaluation = Field(Evaluation(), description="accuracy on images kept out of training")
    checkpoint_seconds: float = Field(120, gt=0, description="between two checkpoints")
    store: str | None = Field(None, description="folder of what comes out; stores/NAME unless told, or --store")
    workers: Share = Field(Share(), description="how the work is spread")

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.accumulate > self.batch:
            raise ValueError(f"accumulate: {self.accumulate} parts of a batch of {self.batch}: ask for fewer")
        if self.evaluation.data is None and not self.held_out:
            raise ValueError("nothing to evaluate on: name evaluation.data, or keep images out of training with held_out")
        if self.attack and (self.attack.networks or self.attack.transfer or self.attack.restarts > 1):
            raise ValueError("attack: networks, transfer and restarts are for campaigns: leave them out of a training")
        return self

    @property
    def augmentation(self) -> Augmentation | None:
        told = self.augment
        return Augmentation(told.margin, told.pad, told.flip) if told else None

    @property
    def pictures(self) -> Data:
        """The data as it is decoded: with the margin over which windows move."""
        return self.data.model_copy(update={"crop": self.data.crop + 2 * (self.augment.margin if self.augment else 0)})

    @property
    def objective(self) -> Objective:
        told = self.distill
        return Objective(self.label_smoothing, told.weight if told else 0.0, told.temperature if told else 1.0)

    def lesson(self, step: int) -> Lesson:
        """What the network is shown at a step."""
        barrage = self.barrage.at(step) if self.barrage else Barrage(0)
        return Lesson(barrage, self._attack(barrage.k > 0))

    def _attack(self, random: bool) -> bart.Attack | None:
        return self.attack.build(random) if self.attack else None

    @property
    def draws(self) -> int:
        """Draws of each image that are at work together."""
        return self.attack.eot_draws if self.attack and self.barrage else 1


def load(path: str | Path) -> Recipe:
    """The training of a YAML file. Raises BadInput with the first thing that is wrong."""
    return validated(Recipe, content(path, "training", EXAMPLE), path)
