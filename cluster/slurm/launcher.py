"""Slurm: one batch job that starts Ray on its nodes, runs the campaign and puts itself back into the queue."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from cluster.cluster_file import Duration, Group, GroupName, Site, clock, fits, local, seen
from cluster.launch_orders import Launch, Order, ask, fill, one_line, tool, variables
from pipeline.errors import BadInput
from pipeline.storage.urls import DOOR
from pipeline.store.layout import Store


class SlurmGroup(Group):
    """Nodes of one kind: a component of the job where there are several."""

    gpu_type: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$", description="the site's name, as `sinfo -o %G` shows it")
    partition: str | None = Field(None, pattern="^[A-Za-z0-9_,.-]+$", description="the site's default unless told")
    constraint: str | None = Field(None, pattern=r"^[A-Za-z0-9_|&.,()\[\]*-]+$", description="features, as sbatch takes them")

    @property
    def gres(self) -> str:
        return ":".join(["gpu", *([self.gpu_type] if self.gpu_type else []), str(self.gpus)])

    def told(self, name: str) -> str:
        """What Ray is told of its nodes, as words of a shell: labels, GPUs, cores, bytes of memory, other resources."""
        labels = ",".join(f"{key}={value}" for key, value in self.named(name).items())
        memory = self.memory_gb * 10**9
        return shlex.join([labels, *map(str, (self.gpus, self.cpus, memory)), json.dumps(self.resources)])


class SlurmSite(Site):
    """A cluster file for Slurm."""

    groups: dict[GroupName, SlurmGroup] = Field(min_length=1, description="nodes by kind; the first holds the head")
    time_limit: Duration = Field(description="of one job; the campaign goes on in the next")
    account: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$")
    qos: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$")
    setup: list[str] = Field([], description="shell lines before anything else: modules, the virtual environment")
    image: str | None = Field(None, description="an Apptainer image that holds barrage; the environment of `setup` unless told")
    shared: bool = Field(False, description="true: local paths are on a file system that every node sees")

    @model_validator(mode="after")
    def _time_to_leave(self) -> "SlurmSite":
        if self.time_limit < self.grace_seconds + 30:
            raise ValueError(f"time_limit {self.time_limit} s leaves nothing beside grace_seconds {self.grace_seconds}")
        return self


@dataclass(frozen=True)
class Slurm:
    """A campaign on a Slurm cluster."""

    order: Order
    site: SlurmSite

    def launch(self) -> Launch:
        order, site = self.order, self.site
        fits(order.campaign, site.groups)
        seen(order.campaign, order.store, site.shared)
        script = fill(
            "slurm/campaign.sbatch",
            site.recipe,
            order=order,
            site=site,
            groups=list(site.groups.values()),
            told=[group.told(name) for name, group in site.groups.items()],
            environment=variables(site.environment),
            local_store=local(order.store),
            time_limit=clock(site.time_limit),
            folder=Path.cwd(),
        )
        file = order.folder / "campaign.sbatch"
        return Launch(
            {file.name: script},
            [["sbatch", str(file)]],
            [f"squeue --name={order.name}", f"tail -F {order.folder}/slurm-*.log", f"barrage status {order.store}"],
            [f"scancel --name={order.name} --batch --signal=TERM    # writes checkpoints; launch again to go on"],
        )

    def check(self, launch: Launch) -> None:
        tool("sbatch", "run this on a login node of the Slurm cluster")
        found = ask(["sinfo", "--noheader", "--format=%R"])
        if found.returncode:
            raise BadInput(f"sinfo: {one_line(found)}: is the Slurm controller up?")
        known = sorted(set(found.stdout.split()))
        for name, group in self.site.groups.items():
            for partition in group.partition.split(",") if group.partition else []:
                if partition not in known:
                    raise BadInput(f"partition {partition} of group {name}: Slurm has {', '.join(known)}: name one of them")
        if jobs := ask(["squeue", "--me", "--noheader", "--format=%i", f"--name={self.order.name}"]).stdout.split():
            raise BadInput(f"{self.order.name} is in the queue already, job {jobs[0]}: `scancel {jobs[0]}` first, or wait")
        tried = ask(["sbatch", "--test-only"], next(iter(launch.files.values())))
        if tried.returncode:
            raise BadInput(f"Slurm would refuse the job: {one_line(tried)}")
        if self.site.preflight:
            self._make(self.order.store)

    def _make(self, store: str) -> None:
        """Makes the store, which every node of the job must then see. Raises BadInput, StorageError where it cannot be written."""
        Store(store, DOOR).ready()
        if local(store):
            try:
                Path(store).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"store {store} cannot be made: {error.strerror}: give a folder that all nodes see") from None
