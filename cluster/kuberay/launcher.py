"""Launch on Kubernetes with KubeRay: a RayJob with a Ray cluster of its own, or a job of a RayCluster that stays."""

import json
import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from cluster.cluster_file import Duration, Group, GroupName, Site
from cluster.launch_checks import campaign_paths, check_absolute, check_room, check_visible, is_local
from cluster.launch_orders import Launch, Order, error_line, require_tool, run_tool
from cluster.ray.job import script, submission
from cluster.templates import fill, process_environment
from pipeline.config.fields import Strict
from pipeline.config.yaml_loader import plain
from pipeline.errors import BadInput

KubeName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""Name of an object in Kubernetes."""

ClusterName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,45}[a-z0-9])?$")]
"""Name of a RayCluster; short, because KubeRay appends to it."""

SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security context of every container."""

POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of every pod; 1000 is the user that cluster/Dockerfile makes."""

FINISHED = ("Complete", "Failed")
"""Statuses of a RayJob that has ended."""


class Toleration(Strict):
    """Tolerate a taint, such as that of spot nodes."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class KubeGroup(Group):
    """Describe nodes of one kind; `nodes` is the maximum."""

    least: int = Field(0, ge=0, description="number of nodes to keep even without work")
    node_selector: dict[str, str] = Field(
        {}, description="labels of the nodes to use, such as nvidia.com/gpu.product: Tesla-V100-SXM2-16GB"
    )
    tolerations: list[Toleration] = Field([], description="taints to tolerate, such as those of spot nodes")


class Claim(Strict):
    """Name a file system that every pod mounts."""

    claim: KubeName = Field(description="a PersistentVolumeClaim with ReadWriteMany")
    path: str = Field(pattern="^/", description="where it is mounted; local paths of the campaign must begin with it")


class KubeSite(Site):
    """Describe a Kubernetes cluster."""

    image: str = Field(
        pattern="^[^ ]+[:@][^ :@]+$", description="container image made from cluster/Dockerfile, with its tag or digest"
    )
    groups: dict[GroupName, KubeGroup] = Field(min_length=1)
    head: Group = Group(cpus=4, memory_gb=16)
    namespace: KubeName = "default"
    context: str | None = Field(None, description="context of kubectl; default: the current one")
    raycluster: ClusterName | None = Field(
        None, description="name of a cluster that stays; default: a new cluster for this campaign only"
    )
    secret: KubeName | None = Field(None, description="secret whose keys become environment variables: AWS_ACCESS_KEY_ID, ...")
    service_account: KubeName | None = Field(None, description="account with the right to use the store, instead of a secret")
    shared: Claim | None = None
    retries: int = Field(
        5, ge=0, description="how often to start again on a new cluster when the head is lost or the campaign fails"
    )
    time_limit: Duration | None = Field(None, description="time limit of all retries together")


@dataclass(frozen=True)
class KubeRay:
    """Launch a campaign on Kubernetes."""

    order: Order
    site: KubeSite

    def launch(self) -> Launch:
        """Return the filled manifest and the commands for it. Raises BadInput."""
        order, site = self.order, self.site
        check_room(order.campaign, site.groups)
        check_visible(order.campaign, order.store, site.shared.path if site.shared else False)
        check_absolute(order.campaign, order.store)
        self._check_credentials()
        return self._job_of_cluster(site.raycluster) if site.raycluster else self._own_cluster()

    def _own_cluster(self) -> Launch:
        """Return a RayJob, which makes its own Ray cluster and removes it at the end."""
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
        return Launch({file.name: text}, [delete, apply], follow, [f"{shlex.join(delete)}    # launch again to continue"])

    def _job_of_cluster(self, name: str) -> Launch:
        """Return a job of the RayCluster `name`, which is made if it does not exist, and stays."""
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
        """Return what the job does."""
        return ["doctor", "run"] if self.site.preflight else ["run"]

    def _check_credentials(self) -> None:
        """Raise BadInput if a path is in a bucket and the cluster file names no credentials for it."""
        site = self.site
        named = any(name.startswith(("AWS_", "GOOGLE_", "AZURE_")) and "REGION" not in name for name in site.environment)
        if site.secret or site.service_account or named:
            return
        for what, path in campaign_paths(self.order.campaign, self.order.store).items():
            if not is_local(path) and not path.startswith(("http://", "https://")):
                raise BadInput(
                    f"{what} is {path}, and the cluster file names no credentials: give `secret`, or the `service_account` "
                    "that has the right (`default` where the nodes have it)"
                )

    def _fill(self, name: str, **values: Any) -> str:
        """Return a manifest of cluster/kuberay with its pods filled in."""
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
            workers={name: self._pod("ray-worker", group) for name, group in site.groups.items()},
            **values,
        )

    @property
    def _kubectl(self) -> list[str]:
        """Return kubectl with the context and namespace of the cluster file."""
        context = ["--context", self.site.context] if self.site.context else []
        return ["kubectl", *context, "--namespace", self.site.namespace]

    def _pod(self, container: str, group: Group) -> Any:
        """Return the specification of the pods of one group."""
        seconds = str(self.site.grace_seconds)
        grace = {"RAY_JOB_STOP_WAIT_TIME_S": seconds, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": seconds}
        environment = {"HOME": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"} | grace | process_environment(self.site.environment)
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
            environment=[{"name": name, "value": value} for name, value in environment.items()],
        )
        return plain(text)

    def check(self, launch: Launch) -> None:
        """Ask Kubernetes whether it has what the cluster file names and would accept the job. Raises BadInput if not."""
        require_tool("kubectl", "it submits to Kubernetes; see https://kubernetes.io/docs/tasks/tools")
        self._check_not_running(shlex.join(launch.commands[0]))
        self._check_objects()
        tried = run_tool([*self._kubectl, "apply", "--dry-run=server", "-f", "-"], next(iter(launch.files.values())))
        if tried.returncode:
            raise BadInput(f"Kubernetes would refuse the job: {error_line(tried)}")

    def _check_not_running(self, stop: str) -> None:
        """Raise BadInput if kubectl does not answer or the campaign's RayJob still runs; `stop` is the command to end it."""
        site = self.site
        kind, name = ("raycluster", site.raycluster) if site.raycluster else ("rayjob", self.order.name)
        answer = run_tool([*self._kubectl, "get", kind, name, "--output=json", "--ignore-not-found"])
        if answer.returncode:
            raise BadInput(
                f"kubectl cannot ask for a {kind} in namespace {site.namespace}: {error_line(answer)}: check `kubectl config "
                "current-context`, the credentials, and that the KubeRay operator is installed"
            )
        status = json.loads(answer.stdout or "{}").get("status", {}).get("jobDeploymentStatus")
        if kind == "rayjob" and answer.stdout.strip() and status not in FINISHED:
            raise BadInput(f"{self.order.name} runs there already ({status or 'new'}): `{stop}` first, or wait")

    def _check_objects(self) -> None:
        """Raise BadInput if an object that the cluster file names does not exist."""
        site = self.site
        objects = {"secret": site.secret, "serviceaccount": site.service_account}
        objects |= {"persistentvolumeclaim": site.shared.claim if site.shared else None}
        for kind, name in objects.items():
            if name and (answer := run_tool([*self._kubectl, "get", kind, name, "--output=name"])).returncode:
                raise BadInput(
                    f"{kind} {name} of the cluster file: {error_line(answer)}: create it in namespace {site.namespace}"
                )
