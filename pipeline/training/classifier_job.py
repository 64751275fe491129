"""Check the training of a classifier against its data, models and store before any work starts, and fill in what is open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bart import TRANSFORMS
from pipeline.config import definitions
from pipeline.config.attacks import KINDS
from pipeline.config.campaign import Model
from pipeline.config.classifier_training import ClassifierTraining
from pipeline.config.definitions import Versions
from pipeline.config.framing import Framing
from pipeline.data.shards import Shard
from pipeline.data.training_images import counts
from pipeline.errors import BadInput
from pipeline.models import admission, loading, weights
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.training import record
from pipeline.training.job import TrainingJob
from pipeline.training.record import Report
from pipeline.training.unit import TrainingUnit

UNIT = TrainingUnit("model")
"""The one unit of such a training."""

OF_THE_DATA: Mapping[str, None] = dict.fromkeys(("resize", "crop", *Framing._fields))
"""What a training's model does not decide: all images are resized as `data` says, and so are those that judge its weights."""


@dataclass(frozen=True)
class ClassifierJob(TrainingJob):
    """Hold what workers need to know; it is sent to each of them once. The store is the folder of the trained model."""

    training: ClassifierTraining
    shards: tuple[Shard, ...]
    validation: tuple[Shard, ...]
    """Shards of the images for the evaluation; empty if they are held out of `shards`."""
    store: str

    @property
    def identity(self) -> str:
        """Return a hash of what decides the weights."""
        content = self.training.model_dump(mode="json")
        for name in ("name", "data", "evaluation", "checkpoint_seconds", "store", "workers"):
            del content[name]
        content["model"] = self.training.model.deciding()
        if self.training.distill and self.training.distill.teacher:
            content["distill"]["teacher"] = self.training.distill.teacher.deciding()
        changed = definitions.changed(self.versions)  # all were 1 in release 0.1, whose identities stay
        sides = (self.training.data.resize, self.training.data.crop)
        return record.hashed([content, sides, self.data, *([changed] if changed else [])])

    @property
    def versions(self) -> Versions:
        """Return the versions of the definitions that images go through: of transforms, of the attack and what it names."""
        barrage, attack = self.training.barrage, self.training.attack
        images: dict[str, tuple[str, ...]] = {TRANSFORMS.table: barrage.transforms} if barrage else {}
        against = [{KINDS.table: (attack.kind,)}, attack.named()] if attack else []
        return definitions.versions_of(images, *against)

    @property
    def images(self) -> int:
        """Return how many images one pass over the data has."""
        return sum(counts(self.shards, self.training.data.limit)) - self.training.held_out

    @property
    def steps(self) -> int:
        """Return how many steps the training has."""
        return max(1, round(self.training.epochs * self.images / self.training.batch))

    def todo(self) -> list[TrainingUnit]:
        """Return the one unit, unless the model is stored."""
        return [] if weights.manifest(self.store) else [UNIT]

    def write_down(self) -> None:
        """Write the training into its store."""
        record.write(self.store, self.training, self.identity, (*self.shards, *self.validation))


def resolved(training: ClassifierTraining) -> ClassifierTraining:
    """Return the training with the hashes of its weights and the preprocessing of its model filled in.

    Raises BadInput if any weights are missing, or have another hash than the file says.
    """
    model = loading.described(loading.checked(training.model), training.data)
    sides = {"resize": model.resize or training.data.resize, "crop": model.crop or training.data.crop}
    distill = training.distill
    if distill:
        teacher = _teacher(distill.teacher or training.model, training, model)
        distill = distill.model_copy(update={"teacher": teacher})
    update = {"model": model.model_copy(update=OF_THE_DATA), "distill": distill}
    return training.model_copy(update=update | {"data": training.data.model_copy(update=sides)})


def _teacher(teacher: Model, training: ClassifierTraining, model: Model) -> Model:
    if teacher.weights == loading.RANDOM:
        raise BadInput(
            "distill: a model that begins with random weights can't be a teacher: name another one as distill.teacher"
        )
    if teacher.classes != model.classes:
        raise BadInput(f"distill: the teacher has {teacher.classes} classes, the model {model.classes}: name another teacher")
    return loading.described(loading.checked(teacher), training.data).model_copy(update=OF_THE_DATA)


def prepare(training: ClassifierTraining, url: str, report: Report = lambda line: None) -> ClassifierJob:
    """Return the job of a training on a store, new or half done. Writes nothing. Raises BadInput, StorageError.

    `report` shows one line to a person; default: nothing is shown.
    """
    training = resolved(training)
    Store(url, urls.ANSWER_SECONDS).ready()
    shards = record.inspected(training.data, url, report)
    others = training.evaluation.data
    validation = record.inspected(others, url, report) if others else []
    _check_labels([*shards, *validation], training)
    record.check_images(sum(counts(shards, training.data.limit)), training.held_out, training.batch)
    for model in (training.model, training.distill.teacher if training.distill else None):
        if model:
            admission.tried(loading.build(model, training.seed), model, training.data.crop)
    job = ClassifierJob(training, tuple(shards), tuple(validation), url)
    stored = weights.manifest(url)
    if stored and stored["training"]["identity"] != job.identity:
        other = stored["training"]["identity"]
        raise BadInput(f"store {url} holds a model of another training ({other}, this is {job.identity}): use another --store")
    return job


def _check_labels(shards: Sequence[Shard], training: ClassifierTraining) -> None:
    """Raise BadInput if a shard holds a label that the model has no class for."""
    last = training.model.classes - 1
    for shard in shards:
        if shard.labels[1] > last:
            raise BadInput(
                f"shard {shard.url} holds the label {shard.labels[1]}, the model has the classes 0 to {last}: "
                "use data with the model's labels, or mend `classes`"
            )
