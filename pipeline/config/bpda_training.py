"""The training of BPDA networks as a file, and what it finds in its store: everything checked before work starts."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from bart import TRANSFORMS, Barrage
from pipeline import networks, places, shards
from pipeline.batches import counts
from pipeline.campaign import BadInput, Data, content, explain
from pipeline.documents import plain
from pipeline.schema import Name, Share, Strict
from pipeline.shards import Shard
from pipeline.store import Store

FILE = "training.yaml"

KINDS = ("classifier", "bpda")
"""Kinds of training by the name that a file uses."""


class Training(Strict):
    """The whole file."""

    kind: Literal["bpda"] = Field(description="what is trained")
    name: Name = Field(description="of the training, and of its store where none is named")
    seed: int = Field(0, description="of all randomness: first weights, order of images, parameters of transforms")
    data: Data = Field(description="the images, as in a campaign; their labels are not used")
    transforms: tuple[str, ...] = Field(
        tuple(TRANSFORMS), min_length=1, description="those that get a network; all unless told"
    )
    steps: int = Field(ge=1, description="of Adam, for each network")
    batch: int = Field(32, ge=2, description="images of a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="of Adam")
    held_out: int = Field(256, ge=1, description="images kept out of training, on which the error is measured")
    checkpoint_seconds: float = Field(120, gt=0, description="between two checkpoints of a network")
    store: str | None = Field(None, description="folder of the networks; stores/NAME unless told, or --store")
    workers: Share = Field(Share(), description="how the work is spread")

    @field_validator("transforms")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        Barrage(0, names)
        return names


@dataclass(frozen=True)
class TrainingJob:
    """What a worker needs to know, sent once. The store is the folder of the networks."""

    training: Training
    shards: tuple[Shard, ...]
    store: str

    @property
    def name(self) -> str:
        return self.training.name

    @property
    def workers(self) -> Share:
        return self.training.workers

    @property
    def data(self) -> str:
        """Hash of the images: of the shards, and of which of them take part."""
        found = [shard.sha256 for shard in self.shards]
        return hashed([found, self.training.data.limit])

    @property
    def identity(self) -> str:
        """Hash of what decides the weights of every network."""
        deciding = ("seed", "steps", "batch", "learning_rate", "held_out")
        size = (self.training.data.resize, self.training.data.crop)
        return hashed([{name: getattr(self.training, name) for name in deciding}, size, self.data])

    def todo(self) -> list[str]:
        """The transforms whose networks are not there."""
        done = networks.entries(self.store)
        return [name for name in self.training.transforms if name not in done]

    def write_down(self) -> None:
        """Puts the training as it was resolved into the store."""
        found = {
            "training": self.training.model_dump(mode="json", exclude={"store", "workers"}),
            "identity": self.identity,
            "shards": [asdict(shard) | {"labels": list(shard.labels)} for shard in self.shards],
        }
        store = Store(self.store)
        store.sweep()
        store.replace(FILE, yaml.safe_dump(found, sort_keys=False).encode())


def hashed(values: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def load(path: str | Path) -> Training:
    """The training of a YAML file. Raises BadInput with the first thing that is wrong."""
    return validated(Training, content(path, "training", "campaigns/bpda-small.yaml"), path)


def kind(path: str | Path) -> str:
    """The kind of training that a YAML file asks for. Raises BadInput."""
    values = content(path, "training", "campaigns/bpda-small.yaml")
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        found = f"has the kind {values['kind']!r}" if isinstance(values, dict) and "kind" in values else "has no kind"
        raise BadInput(f"training {path} {found}: expected a mapping with `kind: {'` or `kind: '.join(KINDS)}`")
    return str(values["kind"])


File = TypeVar("File", bound=BaseModel)


def validated(kind: type[File], values: Any, path: str | Path) -> File:
    """Parsed YAML as a training of some kind. Raises BadInput with the first thing that is wrong."""
    if not isinstance(values, dict):
        raise BadInput(f"training {path}: expected a mapping with the keys {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"training {path}, {where}: {explain(first, lambda place: _known_keys(kind, place))}") from None


def _known_keys(section: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys of the section at `location` of a file."""
    for part in location:
        if part in section.model_fields:
            annotation = section.model_fields[part].annotation
            kinds = [k for k in (annotation, *get_args(annotation)) if isinstance(k, type) and issubclass(k, BaseModel)]
            section = kinds[0] if kinds else section
    return list(section.model_fields)


def prepare(training: Training, url: str, report: Callable[[str], None] = lambda line: None) -> TrainingJob:
    """The job of a training on a store, new or half done. Leaves nothing behind. Raises BadInput, Refused."""
    Store(url, places.DOOR).ready()
    found = inspected(training.data, url, report)
    images, wanted = sum(counts(found, training.data.limit)), training.held_out + training.batch
    if images < wanted:
        raise BadInput(
            f"data hold {images} images, expected at least {wanted}, held_out and one batch: add shards, or lower held_out"
        )
    job = TrainingJob(training, tuple(found), url)
    for name, (entry, _) in networks.entries(url).items():
        if entry.training != job.identity:
            raise BadInput(
                f"store {url} holds a network of {name} from another training ({entry.training}, this is {job.identity}): "
                "use another --store"
            )
    return job


def inspected(data: Data, url: str, report: Callable[[str], None]) -> list[Shard]:
    """The shards of a training; those that an earlier run on its store looked at are not read again. Raises BadInput,
    Refused."""
    known, found = _seen(url), []
    for path, size in shards.paths(data).items():
        shard = known.get(path)
        if shard is None or shard.bytes != size:
            report(f"reading {path} for the first time")
            shard = shards.inspect(path)
        found.append(shard)
    return found


def _seen(url: str) -> dict[str, Shard]:
    """The shards that an earlier run on this store looked at, by path."""
    data = Store(url).read(FILE)
    found = [Shard(**(s | {"labels": tuple(s["labels"])})) for s in plain(data)["shards"]] if data else []
    return {shard.url: shard for shard in found}
