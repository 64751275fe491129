"""The training of BPDA networks as a file, and what it finds in its store: everything checked before work starts."""

from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from bart import BART_25, Barrage
from pipeline.config.campaign import Data, content, explain
from pipeline.config.fields import Name, Share, Strict
from pipeline.errors import BadInput

FILE = "training.yaml"

KINDS = ("classifier", "bpda")
"""Kinds of training by the name that a file uses."""


class Training(Strict):
    """The whole file."""

    kind: Literal["bpda"] = Field(description="what is trained")
    name: Name = Field(description="of the training, and of its store where none is named")
    seed: int = Field(0, description="of all randomness: first weights, order of images, parameters of transforms")
    data: Data = Field(description="the images, as in a campaign; their labels are not used")
    transforms: tuple[str, ...] = Field(BART_25, min_length=1, description="those that get a network")
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
