"""Define the training file of BPDA networks, and read the training files of both kinds."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from bart import BART_25, Barrage
from pipeline.config.campaign import Data, content, validated
from pipeline.config.fields import Name, Share, Strict
from pipeline.errors import BadInput

FILE = "training.yaml"
"""Name of the resolved training file in its store."""

KINDS = ("classifier", "bpda")
"""Values of `kind` in a training file."""


class BpdaTraining(Strict):
    """The whole file."""

    kind: Literal["bpda"] = Field(description="kind of training")
    name: Name = Field(description="name of the training; default store: stores/NAME")
    seed: int = Field(0, description="seed of all randomness: first weights, order of images, parameters of transforms")
    data: Data = Field(description="images, as in a campaign; their labels are not used")
    transforms: tuple[str, ...] = Field(BART_25, min_length=1, description="transforms that get a network")
    steps: int = Field(ge=1, description="steps of Adam for each network")
    batch: int = Field(32, ge=2, description="images of a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="learning rate of Adam")
    held_out: int = Field(256, ge=1, description="number of images that are kept out of training, to measure the error on")
    checkpoint_seconds: float = Field(120, gt=0, description="seconds between two checkpoints of a network")
    store: str | None = Field(None, description="folder of the networks; default: stores/NAME; --store overrides it")
    workers: Share = Field(Share(), description="how the work is spread; decides no number")

    @field_validator("transforms")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        Barrage(0, names)
        return names


def load(path: str | Path) -> BpdaTraining:
    """Return the training of a YAML file. Raises BadInput with the first mistake."""
    return validated(BpdaTraining, content(path, "training", "campaigns/bpda-small.yaml"), f"training {path}")


def kind(path: str | Path) -> str:
    """Return the kind of training in a YAML file. Raises BadInput."""
    values = content(path, "training", "campaigns/bpda-small.yaml")
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        actual = f"has the kind {values['kind']!r}" if isinstance(values, dict) and "kind" in values else "has no kind"
        raise BadInput(f"training {path} {actual}: expected a mapping with `kind: {'` or `kind: '.join(KINDS)}`")
    return str(values["kind"])
