"""The training of a classifier meets its store: everything checked before work starts, and resolved."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import yaml

from pipeline.config.campaign import Model
from pipeline.config.classifier_training import Recipe
from pipeline.config.fields import Share
from pipeline.data.shards import Shard
from pipeline.data.training_images import counts
from pipeline.errors import BadInput
from pipeline.models import loading, weights
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.training.bpda_job import FILE, hashed, inspected

UNIT = "model"
"""The one unit of such a training."""


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
        store = Store(self.store)
        store.sweep()
        store.replace(FILE, yaml.safe_dump(found, sort_keys=False).encode())


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the hashes of its weights and the preprocessing of its model. Raises BadInput if any weights are missing,
    or others than expected."""
    model = loading.described(loading.checked(recipe.model), recipe.data)
    sides = {"resize": model.resize or recipe.data.resize, "crop": model.crop or recipe.data.crop}
    distill = recipe.distill
    if distill:
        distill = distill.model_copy(update={"teacher": _teacher(distill.teacher or recipe.model, recipe, model)})
    update = {"model": model.model_copy(update={"resize": None, "crop": None}), "distill": distill}
    return recipe.model_copy(update=update | {"data": recipe.data.model_copy(update=sides)})


def _teacher(teacher: Model, recipe: Recipe, model: Model) -> Model:
    if teacher.weights == loading.RANDOM:
        raise BadInput("distill: a model that begins with random weights is no teacher: name another as distill.teacher")
    if teacher.classes != model.classes:
        raise BadInput(f"distill: the teacher has {teacher.classes} classes, the model {model.classes}: name another teacher")
    return loading.described(loading.checked(teacher), recipe.data).model_copy(update={"resize": None, "crop": None})


def prepare(recipe: Recipe, url: str, report: Callable[[str], None] = lambda line: None) -> RecipeJob:
    """The job of a training on a store, new or half done. Leaves nothing behind. Raises BadInput, StorageError."""
    recipe = resolved(recipe)
    Store(url, urls.ANSWER_SECONDS).ready()
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
            loading.tried(loading.build(model, recipe.seed), model, recipe.data.crop)
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
