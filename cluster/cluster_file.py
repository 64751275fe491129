"""The cluster file: the machines that a campaign may have. Decides no number; checked whole before anything is submitted."""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from pipeline.config.campaign import Campaign, content, explain
from pipeline.config.fields import Label, Share, Strict
from pipeline.errors import BadInput

SiteT = TypeVar("SiteT", bound="Site")


def _seconds(value: Any) -> Any:
    """HH:MM:SS, or D-HH:MM:SS as Slurm writes it; YAML itself reads 24:00:00 as 86400."""
    if isinstance(value, str):
        found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", value)
        if not found:
            raise ValueError(f"{value!r} is no duration: write HH:MM:SS, or D-HH:MM:SS for days")
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return value


Duration = Annotated[int, BeforeValidator(_seconds), Field(ge=60)]
"""Seconds."""

GroupName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""A name that Kubernetes takes too."""


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Of the environment."""


class Group(Strict):
    """Nodes of one kind."""

    nodes: int = Field(1, ge=1, description="how many; the most there may be, where they come and go")
    cpus: int = Field(ge=1, description="cores of each node that the campaign may use")
    memory_gb: int = Field(ge=1, description="memory of each node that the campaign may use")
    gpus: int = Field(0, ge=0, description="GPUs of each node that the campaign may use")
    accelerator: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_.-]+$",
        description="these GPUs as Ray calls them (V100), for workers.accelerator of a campaign",
    )
    labels: dict[Label, Label] = Field(
        {}, description="of the nodes, for workers.labels of a campaign; `group` is the group's name"
    )

    def __str__(self) -> str:
        return f"{self.cpus} cores, {self.gpus} GPUs {self.accelerator or ''}".rstrip()

    @property
    def resources(self) -> dict[str, int]:
        """What Ray is told beside cores, GPUs and memory: the type of the GPUs, before any node of the group is there."""
        return {f"accelerator_type:{self.accelerator}": 1} if self.accelerator else {}

    def named(self, name: str) -> dict[str, str]:
        """The labels of the nodes of the group that goes by this name."""
        return {"group": name} | self.labels

    def holds(self, name: str, worker: Share) -> bool:
        """Whether a worker fits onto a node of the group by this name. Labels that Ray finds out itself count as met."""
        asked = {key: value for key, value in worker.labels.items() if not key.startswith("ray.io/")}
        gpus = worker.gpus if worker.gpus is not None else float(worker.accelerator is not None)
        of_type = worker.accelerator in (None, self.accelerator)
        return self.cpus >= worker.cpus and self.gpus >= gpus and of_type and asked.items() <= self.named(name).items()


class Site(Strict):
    """What every kind of cluster has."""

    store: str | None = Field(None, description="where results go; the campaign's own store unless told")
    grace_seconds: int = Field(180, ge=60, description="from the warning to the end: checkpoints are written within it")
    environment: dict[Variable, str] = Field({}, description="environment variables of the campaign's processes")
    preflight: bool = Field(True, description="let `barrage doctor` look at every node before the campaign runs there")
    recipe: str | None = Field(None, description="a recipe of the site's own, in the place of the one that ships")


def clock(seconds: int) -> str:
    """D-HH:MM:SS"""
    days, rest = divmod(seconds, 86_400)
    return f"{days}-{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"


def read(path: str | Path, kind: type[SiteT]) -> SiteT:
    """The cluster file for one kind of cluster. Raises BadInput with the first thing that is wrong."""
    values = content(path, "cluster file", "cluster/slurm/example.yaml")
    if not isinstance(values, dict):
        raise BadInput(f"cluster file {path}: expected a mapping with the keys {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"cluster file {path}, {where}: {explain(first, lambda place: _known_keys(kind, place))}") from None


def _known_keys(kind: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The keys of the section at `place`: names of a mapping are passed over, sections are entered."""
    for part in place:
        field = kind.model_fields.get(str(part))
        if field is not None:
            inside = [kind for kind in _types(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
            kind = inside[0] if inside else kind
    return list(kind.model_fields)


def _types(annotation: Any) -> list[Any]:
    """A type and those that it is made of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _types(part))]


def places(campaign: Campaign, store: str) -> dict[str, str]:
    """Every path that workers must reach, by what it is."""
    found = {"store": store}
    found |= {f"data.shards {pattern}": pattern for pattern in campaign.data.shards}
    for name, model in campaign.models.items():
        if model.weights and "/" in model.weights:
            found[f"weights of model {name}"] = model.weights
    for name, attack in campaign.attacks.items():
        if networks := getattr(attack, "networks", None):
            found[f"networks of attack {name}"] = networks
    return found


def local(path: str) -> bool:
    """Whether a place is a path of a file system rather than a URL."""
    return "://" not in path


def seen(campaign: Campaign, store: str, shared: bool | str) -> None:
    """Raises BadInput for a path that the nodes may not see; `shared` is the folder that they all see, or whether they see
    every one."""
    for what, path in places(campaign, store).items():
        if not local(path) or shared is True:
            continue
        if not shared:
            raise BadInput(
                f"{what} is the path {path}, which the nodes may not see: move it to a shared file system and set "
                "`shared` in the cluster file, or use a URL"
            )
        if path.startswith("/") and not PurePosixPath(os.path.normpath(path)).is_relative_to(shared):
            raise BadInput(f"{what} is the path {path}, the nodes see what is in {shared}: move it there, or use a URL")


def absolute(campaign: Campaign, store: str) -> None:
    """Raises BadInput for a relative path: the job runs in a folder of its own."""
    for what, path in places(campaign, store).items():
        if local(path) and not path.startswith("/"):
            raise BadInput(f"{what} is the relative path {path}, the job runs in another folder: write it from the root on")


def fits(campaign: Campaign, groups: Mapping[str, Group]) -> None:
    """Raises BadInput if no node has what one worker asks for."""
    wanted = campaign.workers
    if any(group.holds(name, wanted) for name, group in groups.items()):
        return
    labels = [f"label {key}: {value}" for key, value in wanted.labels.items()]
    gpus = f"{wanted.gpus or float(wanted.accelerator is not None):g} GPUs {wanted.accelerator or ''}".rstrip()
    asked = ", ".join([f"{wanted.cpus:g} cores", gpus, *labels])
    there = "; ".join(f"{name}: {group}" for name, group in groups.items())
    raise BadInput(
        f"workers ask for {asked} each, no group of the cluster file has that on one node ({there}): ask for less, or say in "
        "the group what its nodes have"
    )
