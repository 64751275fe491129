"""The training of a classifier as a file, and what it finds in its store: everything checked before work starts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

import bart
from bart import TRANSFORMS, Barrage
from bart.training import Augmentation, Lesson, Objective
from pipeline import models, weights
from pipeline.attacks import Fgsm, Pgd
from pipeline.batches import counts
from pipeline.campaign import BadInput, Data, Model, content
from pipeline.schema import Name, Share, Strict
from pipeline.shards import Shard
from pipeline.store import Store
from pipeline.training import FILE, hashed, inspected, validated

EXAMPLE = "campaigns/train/cifar10-bart.yaml"
UNIT = "model"
"""The one unit of such a training."""


class Barrages(Strict):
    """Every image through k transforms, k drawn for each image and step."""

    k: Annotated[
        tuple[int, int],
        BeforeValidator(lambda value: (value, value) if isinstance(value, int) else value),
        Field(description="from, to: uniform, both ends included; one number is that number always"),
    ] = (0, 5)
    transforms: tuple[str, ...] = Field(tuple(TRANSFORMS), description="names that may be drawn")
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

    steps: int = Field(10, ge=1)
    momentum: float = Field(0.0, ge=0, lt=1)
    eot_draws: int = Field(1, ge=1)


class InnerFgsm(Fgsm):
    """FGSM as adversarial training has it: from a random start (Wong, Rice, Kolter, ICLR 2020)."""

    random_start: bool = True
    eot_draws: int = Field(1, ge=1)


def _kind(value: Any) -> str:
    return str(value.get("kind", "pgd") if isinstance(value, dict) else getattr(value, "kind", "pgd"))


Inner = Annotated[Annotated[InnerPgd, Tag("pgd")] | Annotated[InnerFgsm, Tag("fgsm")], Discriminator(_kind)]
"""The attack inside a training; PGD unless told."""


class Augment(Strict):
    """Pictures moved and mirrored at random before anything else is done to them."""

    flip: bool = True
    margin: int = Field(0, ge=0, description="the window of `data.crop` moves by so many pixels over the larger picture")
    pad: int = Field(0, ge=0, description="and by so many more over its reflected border, as is usual for small images")


class Optimizer(Strict):
    """How weights follow gradients."""

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, le=10)
    weight_decay: float = Field(0.0, ge=0, description="of convolutions and matrices alone; decoupled in adamw")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, Nesterov's")
    schedule: Literal["constant", "cosine"] = "constant"
    warm_up: int = Field(0, ge=0, description="steps over which the learning rate grows evenly from 0")


class Distill(Strict):
    """The network also learns the teacher's probabilities of the undisturbed image."""

    weight: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(1.0, gt=0)
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

    kind: Literal["classifier"]
    name: Name
    seed: int = 0
    data: Data
    held_out: int = Field(0, ge=0, description="images of `data` kept out of training")
    shuffle: int = Field(2048, ge=1, description="images that are shuffled together, whole shards of them")
    model: Model = Field(description="as in a campaign; weights: random begins from nothing")
    epochs: float = Field(gt=0, description="passes over the images; a part of one will do")
    batch: int = Field(128, ge=2, description="images of a step, over all workers")
    accumulate: int = Field(1, ge=1, description="parts of a batch that are worked on one after the other, to save memory")
    barrage: Barrages | None = None
    attack: Inner | None = None
    distill: Distill | None = None
    augment: Augment | None = None
    optimizer: Optimizer = Optimizer()
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    batch_norm: Literal["update", "frozen"] = Field(
        "update", description="statistics of the batch, as usual, or those that the weights came with"
    )
    average: float = Field(0.0, ge=0, lt=1, description="decay of a moving average of the weights, which is then the result")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the network's arithmetic; auto: the 16-bit type that the device multiplies natively"
    )
    store_as: Literal["float32", "float16"] = Field("float32", description="of the weights in their file")
    evaluation: Evaluation = Evaluation()
    checkpoint_seconds: float = Field(120, gt=0)
    store: str | None = None
    workers: Share = Share()

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


@dataclass(frozen=True)
class RecipeJob:
    """What a worker needs to know, sent once. The store is the folder of the trained model."""

    recipe: Recipe
    shards: tuple[Shard, ...]
    validation: tuple[Shard, ...]
    store: str

    @property
    def workers(self) -> Share:
        return self.recipe.workers

    @property
    def data(self) -> str:
        """Hash of the images: of the shards, and of which of them take part."""
        return hashed([[shard.sha256 for shard in self.shards], self.recipe.data.limit])

    @property
    def identity(self) -> str:
        """Hash of what decides the weights."""
        whole = self.recipe.model_dump(mode="json")
        for name in ("name", "data", "evaluation", "checkpoint_seconds", "store", "workers"):
            del whole[name]
        for model in (whole["model"], (whole["distill"] or {}).get("teacher")):
            if model and model["sha256"]:
                del model["weights"]  # where weights have a hash, their path is only a place
        return hashed([whole, (self.recipe.data.resize, self.recipe.data.crop), self.data])

    @property
    def images(self) -> int:
        """Of one pass."""
        return sum(counts(self.shards, self.recipe.data.limit)) - self.recipe.held_out

    @property
    def steps(self) -> int:
        return max(1, round(self.recipe.epochs * self.images / self.recipe.batch))

    def todo(self) -> list[str]:
        """The model, unless it is there."""
        return [] if weights.manifest(self.store) else [UNIT]

    def write_down(self) -> None:
        """Puts the training as it was resolved into the store."""
        found = {
            "training": self.recipe.model_dump(mode="json", exclude={"store", "workers"}),
            "identity": self.identity,
            "shards": [asdict(shard) | {"labels": list(shard.labels)} for shard in (*self.shards, *self.validation)],
        }
        Store(self.store).replace(FILE, yaml.safe_dump(found, sort_keys=False).encode())


def load(path: str | Path) -> Recipe:
    """The training of a YAML file. Raises BadInput with the first thing that is wrong."""
    return validated(Recipe, content(path, "training", EXAMPLE), path)


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the hashes of its weights and the preprocessing of its model. Raises BadInput if any weights are missing,
    or others than expected."""
    model = models.described(models.checked(recipe.model), recipe.data)
    sides = {"resize": model.resize or recipe.data.resize, "crop": model.crop or recipe.data.crop}
    distill = recipe.distill
    if distill:
        distill = distill.model_copy(update={"teacher": _teacher(distill.teacher or recipe.model, recipe, model)})
    update = {"model": model.model_copy(update={"resize": None, "crop": None}), "distill": distill}
    return recipe.model_copy(update=update | {"data": recipe.data.model_copy(update=sides)})


def _teacher(teacher: Model, recipe: Recipe, model: Model) -> Model:
    if teacher.weights == models.RANDOM:
        raise BadInput("distill: a model that begins with random weights is no teacher: name another as distill.teacher")
    if teacher.classes != model.classes:
        raise BadInput(f"distill: the teacher has {teacher.classes} classes, the model {model.classes}: name another teacher")
    return models.described(models.checked(teacher), recipe.data).model_copy(update={"resize": None, "crop": None})


def prepare(recipe: Recipe, url: str, report: Callable[[str], None] = lambda line: None) -> RecipeJob:
    """The job of a training on a store, new or half done. Touches nothing. Raises BadInput."""
    recipe = resolved(recipe)
    found = inspected(recipe.data, url, report)
    told = recipe.evaluation.data
    validation = inspected(told, url, report) if told else []
    _fits([*found, *validation], recipe)
    images, wanted = sum(counts(found, recipe.data.limit)), recipe.held_out + recipe.batch
    if images < wanted:
        raise BadInput(
            f"data hold {images} images, expected at least {wanted}, held_out and one batch: add shards, or ask for less"
        )
    for model in (recipe.model, recipe.distill.teacher if recipe.distill else None):
        if model:
            models.tried(models.build(model, recipe.seed), model, recipe.data.crop)
    job = RecipeJob(recipe, tuple(found), tuple(validation), url)
    there = weights.manifest(url)
    if there and there["training"]["identity"] != job.identity:
        other = there["training"]["identity"]
        raise BadInput(f"store {url} holds a model of another training ({other}, this is {job.identity}): use another --store")
    return job


def _fits(found: Sequence[Shard], recipe: Recipe) -> None:
    last = recipe.model.classes - 1
    for shard in found:
        if shard.labels[1] > last:
            raise BadInput(
                f"shard {shard.url} holds the label {shard.labels[1]}, the model has the classes 0 to {last}: "
                "use data with the model's labels, or mend `classes`"
            )
