"""Read the cluster file: the machines a campaign may use. It decides no number, and is checked whole before anything starts."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from pipeline.config.campaign import content, validated
from pipeline.config.fields import AlsoWritten, Label, Share, Strict

SiteT = TypeVar("SiteT", bound="Site")

EXAMPLE = "cluster/slurm/example.yaml"


def _seconds(value: Any) -> Any:
    """Return the seconds of HH:MM:SS or D-HH:MM:SS, as Slurm writes durations. YAML itself reads 24:00:00 as 86400."""
    if isinstance(value, str):
        match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", value)
        if not match:
            raise ValueError(f"{value!r} is not a duration: write HH:MM:SS, or D-HH:MM:SS for days")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return value


TIME = {"type": "string", "pattern": r"^(\d+-)?\d+:\d\d:\d\d$", "examples": ["24:00:00"]}

Duration = Annotated[int, Field(ge=60), AlsoWritten(_seconds, lambda seconds: TIME)]
"""Seconds."""

GroupName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""Name of a group of nodes; Kubernetes accepts it too."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""


class Group(Strict):
    """Describe nodes of one kind."""

    nodes: int = Field(1, ge=1, description="number of nodes; the maximum where nodes are started on demand")
    cpus: int = Field(ge=1, description="cores of each node that the campaign may use")
    memory_gb: int = Field(ge=1, description="memory of each node that the campaign may use")
    gpus: int = Field(0, ge=0, description="GPUs of each node that the campaign may use")
    accelerator: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_.-]+$",
        description="Ray's name of these GPUs (V100), for workers.accelerator of a campaign",
    )
    labels: dict[Label, Label] = Field(
        {}, description="labels of the nodes, for workers.labels of a campaign; `group` is always the group's name"
    )

    def __str__(self) -> str:
        return f"{self.cpus} cores, {self.gpus} GPUs {self.accelerator or ''}".rstrip()

    @property
    def resources(self) -> dict[str, int]:
        """Return Ray's resource for the GPU type, which Ray needs before the first node of the group exists."""
        return {f"accelerator_type:{self.accelerator}": 1} if self.accelerator else {}

    def node_labels(self, name: str) -> dict[str, str]:
        """Return the labels of the nodes of this group, whose name is `name`."""
        return {"group": name} | self.labels

    def has_room(self, name: str, worker: Share) -> bool:
        """Return whether one worker fits on a node of this group. Labels that Ray sets itself (ray.io/) count as met."""
        labels = {key: value for key, value in worker.labels.items() if not key.startswith("ray.io/")}
        gpus = worker.gpus if worker.gpus is not None else float(worker.accelerator is not None)
        right_type = worker.accelerator in (None, self.accelerator)
        right_labels = labels.items() <= self.node_labels(name).items()
        return self.cpus >= worker.cpus and self.gpus >= gpus and right_type and right_labels


class Site(Strict):
    """Hold the keys that the cluster files of all kinds share."""

    store: str | None = Field(None, description="folder or URL of the results; default: the campaign's own store")
    grace_seconds: int = Field(180, ge=60, description="from the warning to the end; workers write checkpoints in this time")
    environment: dict[Variable, str] = Field({}, description="environment variables of the campaign's processes")
    preflight: bool = Field(True, description="run `barrage doctor` on every node before the campaign starts")
    recipe: str | None = Field(None, description="your edited copy of the job file, used instead of the one that ships")


def read(path: str | Path, schema: type[SiteT]) -> SiteT:
    """Return the cluster file at `path`, checked against one kind's schema. Raises BadInput with the first mistake."""
    return validated(schema, content(path, "cluster file", EXAMPLE), f"cluster file {path}")
