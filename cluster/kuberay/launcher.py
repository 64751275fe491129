"""Kubernetes: a RayJob of the KubeRay operator, with a Ray cluster of its own."""

import json
import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from cluster.recipe import Launch, Order, ask, fill, one_line, tool, variables
from cluster.site import Duration, Group, GroupName, Site, absolute, fits, seen
from pipeline.campaign import BadInput
from pipeline.schema import Strict

KubeName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""A name of a thing in Kubernetes."""

SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Of every container."""

GONE = ("Complete", "Failed")
"""What the operator says of a RayJob that is over."""


class Toleration(Strict):
    """Of a taint, such as those of spot nodes."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class KubeGroup(Group):
    """Nodes of one kind; `nodes` is how many there may be."""

    least: int = Field(0, ge=0, description="how many there are even when nothing is to do")
    node_selector: dict[str, str] = Field({}, description="labels, such as nvidia.com/gpu.product: Tesla-V100-SXM2-16GB")
    tolerations: list[Toleration] = Field([], description="of taints, such as those of spot nodes")


class Claim(Strict):
    """A file system that every pod mounts."""

    claim: KubeName = Field(description="a PersistentVolumeClaim with ReadWriteMany")
    path: str = Field(pattern="^/", description="where it is mounted; local paths of the campaign begin so")


class KubeSite(Site):
    """A cluster file for Kubernetes."""

    image: str = Field(pattern="^[^ ]+[:@][^ :@]+$", description="made from cluster/Dockerfile, with its tag or digest")
    groups: dict[GroupName, KubeGroup] = Field(min_length=1)
    head: Group = Group(cpus=4, memory_gb=16)
    namespace: KubeName = "default"
    context: str | None = Field(None, description="of kubectl; the current one unless told")
    secret: KubeName | None = Field(None, description="whose keys become environment variables: AWS_ACCESS_KEY_ID, ...")
    service_account: KubeName | None = Field(None, description="whose cloud identity reaches the store, instead of a secret")
    shared: Claim | None = None
    retries: int = Field(5, ge=0, description="new clusters, once the head is lost or the campaign fails")
    time_limit: Duration | None = Field(None, description="of all retries together")


@dataclass(frozen=True)
class KubeRay:
    """A campaign on Kubernetes."""

    order: Order
    site: KubeSite

    def launch(self) -> Launch:
        import ray

        order, site = self.order, self.site
        fits(order.campaign, site.groups)
        seen(order.campaign, order.store, site.shared is not None)
        absolute(order.campaign, order.store)
        run = f"barrage run /campaign/campaign.yaml --store {shlex.quote(order.store)}"
        doctor = f"barrage doctor /campaign/campaign.yaml --store {shlex.quote(order.store)} --no-rate"
        text = fill(
            "kuberay/rayjob.yaml",
            site.recipe,
            order=order,
            site=site,
            campaign=order.file.read_text(),
            entrypoint=f"bash -c {shlex.quote(f'{doctor} && exec {run}')}" if site.preflight else run,
            ray_version=ray.__version__,
            container_security=SECURITY,
            head=self._pod("ray-head", site.head),
            workers={name: self._pod("ray-worker", group) for name, group in site.groups.items()},
        )
        file = order.folder / "rayjob.yaml"
        delete = [*self._kubectl, "delete", "rayjob", order.name, "--ignore-not-found"]
        kubectl = shlex.join(self._kubectl)
        follow = [
            f"{kubectl} get rayjob {order.name} --watch",
            f"{kubectl} logs --follow --selector=job-name={order.name}",
            f"barrage status {order.store}",
        ]
        apply = [*self._kubectl, "apply", "-f", str(file)]
        return Launch({file.name: text}, [delete, apply], follow, [f"{shlex.join(delete)}    # launch again to go on"])

    @property
    def _kubectl(self) -> list[str]:
        context = ["--context", self.site.context] if self.site.context else []
        return ["kubectl", *context, "--namespace", self.site.namespace]

    def _pod(self, container: str, group: Group) -> Any:
        """The specification of the pods of one group."""
        seconds = str(self.site.grace_seconds)
        grace = {"RAY_JOB_STOP_WAIT_TIME_S": seconds, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": seconds}
        named = {"HOME": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"} | grace | variables(self.site.environment)
        values = {"node_selector": {}, "tolerations": []} | group.model_dump(exclude_none=True)
        text = fill(
            "kuberay/pod.yaml",
            None,
            order=self.order,
            site=self.site,
            group=values,
            container=container,
            container_security=SECURITY,
            environment=[{"name": name, "value": value} for name, value in named.items()],
        )
        return yaml.safe_load(text)

    def check(self, launch: Launch) -> None:
        tool("kubectl", "it submits to Kubernetes; see https://kubernetes.io/docs/tasks/tools")
        site = self.site
        found = ask([*self._kubectl, "get", "rayjob", self.order.name, "--output=json", "--ignore-not-found"])
        if found.returncode:
            raise BadInput(
                f"kubectl cannot ask for RayJobs in namespace {site.namespace}: {one_line(found)}: check `kubectl config "
                "current-context`, the credentials, and that the KubeRay operator is installed"
            )
        status = json.loads(found.stdout or "{}").get("status", {}).get("jobDeploymentStatus")
        if found.stdout.strip() and status not in GONE:
            stop = shlex.join(launch.commands[0])
            raise BadInput(f"{self.order.name} runs there already ({status or 'new'}): `{stop}` first, or wait")
        needed = {"secret": site.secret, "serviceaccount": site.service_account}
        needed |= {"persistentvolumeclaim": site.shared.claim if site.shared else None}
        for kind, name in needed.items():
            if name and (asked := ask([*self._kubectl, "get", kind, name, "--output=name"])).returncode:
                raise BadInput(f"{kind} {name} of the cluster file: {one_line(asked)}: create it in namespace {site.namespace}")
        tried = ask([*self._kubectl, "apply", "--dry-run=server", "-f", "-"], next(iter(launch.files.values())))
        if tried.returncode:
            raise BadInput(f"Kubernetes would refuse the job: {one_line(tried)}")
