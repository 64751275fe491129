"""Launch on Slurm: one batch job that starts Ray on its nodes, runs the campaign and requeues itself before the time limit."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from cluster.cluster_file import Duration, Group, GroupName, Site
from cluster.launch_checks import check_room, check_visible, is_local
from cluster.launch_orders import Launch, Order, error_line, require_tool, run_tool
from cluster.templates import fill, process_environment
from pipeline.errors import BadInput
from pipeline.storage.urls import ANSWER_SECONDS
from pipeline.store.layout import Store


class SlurmGroup(Group):
    """Describe nodes of one kind; several groups make a heterogeneous job with one component each."""

    gpu_type: str | None = Field(
        None, pattern="^[A-Za-z0-9_.-]+$", description="Slurm's name of the GPU, as `sinfo -o %G` shows it"
    )
    partition: str | None = Field(None, pattern="^[A-Za-z0-9_,.-]+$", description="default: Slurm's own default partition")
    constraint: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_|&.,()\[\]*-]+$", description="node features, as sbatch takes them"
    )

    @property
    def gres(self) -> str:
        """Return the value of sbatch's --gres, such as gpu:v100:4."""
        return ":".join(["gpu", *([self.gpu_type] if self.gpu_type else []), str(self.gpus)])

    def ray_arguments(self, name: str) -> str:
        """Return arguments of `start` in campaign.sbatch, quoted: labels, GPUs, cores, bytes of memory, resources."""
        labels = ",".join(f"{key}={value}" for key, value in self.node_labels(name).items())
        memory = self.memory_gb * 10**9
        return shlex.join([labels, *map(str, (self.gpus, self.cpus, memory)), json.dumps(self.resources)])


class SlurmSite(Site):
    """Describe a Slurm cluster."""

    groups: dict[GroupName, SlurmGroup] = Field(
        min_length=1, description="nodes by kind; the driver runs on the first node of the first group"
    )
    time_limit: Duration = Field(description="time limit of one job; the campaign continues when Slurm starts the job again")
    account: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$")
    qos: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$")
    setup: list[str] = Field([], description="shell lines that run first: modules, the virtual environment")
    image: str | None = Field(
        None, description="an Apptainer image with barrage inside; default: the environment that `setup` makes"
    )
    shared: bool = Field(False, description="true if local paths are on a file system that every node sees")

    @model_validator(mode="after")
    def _leaves_time_to_work(self) -> "SlurmSite":
        if self.time_limit < self.grace_seconds + 30:
            raise ValueError(
                f"time_limit {self.time_limit} s leaves nothing beside grace_seconds {self.grace_seconds}: raise time_limit"
            )
        return self


@dataclass(frozen=True)
class Slurm:
    """Launch a campaign on a Slurm cluster."""

    order: Order
    site: SlurmSite

    def launch(self) -> Launch:
        """Return the filled batch script and the commands for it. Raises BadInput."""
        order, site = self.order, self.site
        check_room(order.campaign, site.groups)
        check_visible(order.campaign, order.store, site.shared)
        script = fill(
            "slurm/campaign.sbatch",
            site.recipe,
            order=order,
            site=site,
            groups=list(site.groups.values()),
            ray_arguments=[group.ray_arguments(name) for name, group in site.groups.items()],
            environment=process_environment(site.environment),
            local_store=is_local(order.store),
            time_limit=_slurm_duration(site.time_limit),
            folder=Path.cwd(),
        )
        file = order.folder / "campaign.sbatch"
        return Launch(
            {file.name: script},
            [["sbatch", str(file)]],
            [f"squeue --name={order.name}", f"tail -F {order.folder}/slurm-*.log", f"barrage status {order.store}"],
            [f"scancel --name={order.name} --batch --signal=TERM    # writes checkpoints; launch again to continue"],
        )

    def check(self, launch: Launch) -> None:
        """Ask Slurm whether it knows the partitions and would accept the job, and make the store. Raises BadInput if not."""
        require_tool("sbatch", "run this on a login node of the Slurm cluster")
        answer = run_tool(["sinfo", "--noheader", "--format=%R"])
        if answer.returncode:
            raise BadInput(f"sinfo: {error_line(answer)}: check that the Slurm controller is up")
        known = sorted(set(answer.stdout.split()))
        for name, group in self.site.groups.items():
            for partition in group.partition.split(",") if group.partition else []:
                if partition not in known:
                    raise BadInput(f"partition {partition} of group {name}: Slurm has {', '.join(known)}: name one of them")
        if jobs := run_tool(["squeue", "--me", "--noheader", "--format=%i", f"--name={self.order.name}"]).stdout.split():
            raise BadInput(f"{self.order.name} is in the queue already, job {jobs[0]}: `scancel {jobs[0]}` first, or wait")
        tried = run_tool(["sbatch", "--test-only"], next(iter(launch.files.values())))
        if tried.returncode:
            raise BadInput(f"Slurm would refuse the job: {error_line(tried)}")
        if self.site.preflight:
            self._make_store(self.order.store)

    def _make_store(self, store: str) -> None:
        """Make the store's folder, so that the job can check that every node sees it. Raises BadInput or StorageError."""
        Store(store, ANSWER_SECONDS).ready()
        if is_local(store):
            try:
                Path(store).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"store {store} cannot be made: {error.strerror}: give a folder that all nodes see") from None


def _slurm_duration(seconds: int) -> str:
    """Return a duration as Slurm writes it: D-HH:MM:SS."""
    days, rest = divmod(seconds, 86_400)
    return f"{days}-{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
