"""Kubernetes, by the KubeRay operator: a RayJob with a Ray cluster of its own, or a job of a RayCluster that stays."""

import json
import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from cluster.cluster_file import Duration, Group, GroupName, Site, absolute, fits, local, places, seen
from cluster.launch_orders import Launch, Order, ask, fill, one_line, tool, variables
from cluster.ray.job import script, submission
from pipeline.config.fields import Strict
from pipeline.config.yaml_loader import plain
from pipeline.errors import BadInput

KubeName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""A name of a thing in Kubernetes."""

ClusterName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,45}[a-z0-9])?$")]
"""A name of a RayCluster, of which KubeRay makes others."""

SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Of every container."""

POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Of every pod: the user that cluster/Dockerfile makes."""

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
    raycluster: ClusterName | None = Field(
        None, description="a cluster that stays, by this name; unless told, one for the campaign"
    )
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
        order, site = self.order, self.site
        fits(order.campaign, site.groups)
        seen(order.campaign, order.store, site.shared.path if site.shared else False)
        absolute(order.campaign, order.store)
        self._credentials()
        return self._of_the_cluster(site.raycluster) if site.raycluster else self._with_a_cluster()

    def _with_a_cluster(self) -> Launch:
        """A RayJob, which brings its cluster and takes it away."""
        order, site = self.order, self.site
        run = f"barrage run /campaign/campaign.yaml --store {shlex.quote(order.store)}"
        doctor = f"barrage doctor /campaign/campaign.yaml --store {shlex.quote(order.store)} --no-rate"
        entrypoint = f"bash -c {shlex.quote(f'{doctor} && exec {run}')}" if site.preflight else run
        text = self._fill("rayjob.yaml", campaign=order.file.read_text(), entrypoint=entrypoint)
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

    def _of_the_cluster(self, name: str) -> Launch:
        """A job of a RayCluster, which is made if it is not there, and stays."""
        order, site = self.order, self.site
        text = self._fill("raycluster.yaml")
        file = order.folder / "raycluster.yaml"
        kubectl = self._kubectl
        head = [*kubectl, "exec", f"svc/{name}-head-svc", "--container=ray-head", "--"]
        commands = [
            [*kubectl, "apply", "-f", str(file)],
            [*kubectl, "wait", "--for=condition=HeadPodReady", f"raycluster/{name}", "--timeout=30m"],
            [*head, "ray", "job", "submit", *submission(order, site, script(order, site, 1, self._steps))],
        ]
        follow = [f"{shlex.join([*head, 'ray', 'job', 'list'])}", f"barrage status {order.store}"]
        stop = [
            f"{shlex.join([*head, 'ray', 'job', 'stop'])} ID    # as printed above",
            f"{shlex.join([*kubectl, 'delete', 'raycluster', name])}    # the cluster too, with all that runs there",
        ]
        return Launch({file.name: text}, commands, follow, stop)

    @property
    def _steps(self) -> list[str]:
        return ["doctor", "run"] if self.site.preflight else ["run"]

    def _credentials(self) -> None:
        """Raises BadInput if a place is in a bucket and nothing says by which right the pods reach it."""
        site = self.site
        named = any(name.startswith(("AWS_", "GOOGLE_", "AZURE_")) and "REGION" not in name for name in site.environment)
        if site.secret or site.service_account or named:
            return
        for what, path in places(self.order.campaign, self.order.store).items():
            if not local(path) and not path.startswith(("http://", "https://")):
                raise BadInput(
                    f"{what} is {path}, and the cluster file names no credentials: give `secret`, or the `service_account` "
                    "that has the right (`default` where the nodes have it)"
                )

    def _fill(self, name: str, **values: Any) -> str:
        import ray

        site = self.site
        return fill(
            f"kuberay/{name}",
            site.recipe,
            order=self.order,
            site=site,
            ray_version=ray.__version__,
            container_security=SECURITY,
            pod_security=POD_SECURITY,
            head=self._pod("ray-head", site.head),
            workers={group: self._pod("ray-worker", found) for group, found in site.groups.items()},
            **values,
        )

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
            pod_security=POD_SECURITY,
            environment=[{"name": name, "value": value} for name, value in named.items()],
        )
        return plain(text)

    def check(self, launch: Launch) -> None:
        tool("kubectl", "it submits to Kubernetes; see https://kubernetes.io/docs/tasks/tools")
        site = self.site
        kind, name = ("raycluster", site.raycluster) if site.raycluster else ("rayjob", self.order.name)
        found = ask([*self._kubectl, "get", kind, name, "--output=json", "--ignore-not-found"])
        if found.returncode:
            raise BadInput(
                f"kubectl cannot ask for a {kind} in namespace {site.namespace}: {one_line(found)}: check `kubectl config "
                "current-context`, the credentials, and that the KubeRay operator is installed"
            )
        status = json.loads(found.stdout or "{}").get("status", {}).get("jobDeploymentStatus")
        if kind == "rayjob" and found.stdout.strip() and status not in GONE:
            stop = shlex.join(launch.commands[0])
            raise BadInput(f"{self.order.name} runs there already ({status or 'new'}): `{stop}` first, or wait")
        needed = {"secret": site.secret, "serviceaccount": site.service_account}
        needed |= {"persistentvolumeclaim": site.shared.claim if site.shared else None}
        for what, by in needed.items():
            if by and (asked := ask([*self._kubectl, "get", what, by, "--output=name"])).returncode:
                raise BadInput(f"{what} {by} of the cluster file: {one_line(asked)}: create it in namespace {site.namespace}")
        tried = ask([*self._kubectl, "apply", "--dry-run=server", "-f", "-"], next(iter(launch.files.values())))
        if tried.returncode:
            raise BadInput(f"Kubernetes would refuse the job: {one_line(tried)}")
