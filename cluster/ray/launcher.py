"""Launch on Ray: a job of a cluster that exists, or of one that `ray up` makes on AWS for the campaign."""

import json
import os
import shlex
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from cluster.cluster_file import Group, GroupName, Site
from cluster.launch_checks import check_absolute, check_room, check_visible
from cluster.launch_orders import Launch, Order, require_tool
from cluster.ray.job import START, environment, script, submission
from cluster.templates import fill
from pipeline.config.fields import Strict
from pipeline.errors import BadInput

TOKEN = "~/.ray/auth_token"
"""File with the token that keeps other users out of the cluster."""

DOCTOR_SECONDS = 900.0
"""Time for `barrage doctor` to finish as a job; it may wait for nodes to join."""


class AwsGroup(Group):
    """Describe AWS instances of one type; they are started while there is work for them."""

    instance: str = Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="instance type; p3.8xlarge has four V100")
    spot: bool = Field(True, description="use spot instances: cheaper, but AWS may end them at any time")

    def node_labels(self, name: str) -> dict[str, str]:
        """Return the labels of the nodes; `market-type` is spot or on-demand."""
        return {"market-type": "spot" if self.spot else "on-demand"} | super().node_labels(name)


class Aws(Strict):
    """Describe a cluster that `ray up` makes on AWS; idle nodes are ended."""

    region: str = Field(pattern="^[a-z]{2}(-[a-z]+)+-[0-9]$")
    image: str = Field(description="a container image made from cluster/Dockerfile, where the nodes can pull it")
    machine_image: str = Field(
        pattern="^ami-[0-9a-f]+$", description="the AMI; it needs NVIDIA's driver and Docker: a Deep Learning Base AMI"
    )
    head: str = Field("m5.2xlarge", description="instance type of the head, which runs the driver; never a spot instance")
    head_disk_gb: int = Field(200, ge=50)
    groups: dict[GroupName, AwsGroup] = Field(min_length=1)
    instance_profile: str | None = Field(
        None, pattern="^arn:aws[a-z-]*:iam::", description="the role with which nodes reach the store"
    )


class RaySite(Site):
    """Describe a Ray cluster: either `address` or `aws`."""

    address: str | None = Field(
        None, pattern="^https?://", description="URL of the cluster's dashboard, such as http://head:8265"
    )
    aws: Aws | None = None
    nodes: int = Field(1, ge=1, description="nodes that must have joined before the campaign begins")
    shared: bool = Field(False, description="true if local paths are on a file system that every node sees")

    @model_validator(mode="after")
    def _has_one_cluster(self) -> "RaySite":
        if (self.address is None) == (self.aws is None):
            raise ValueError("expected either `address` of a cluster that exists, or `aws` to make one")
        return self


@dataclass(frozen=True)
class Ray:
    """Launch a campaign on a Ray cluster."""

    order: Order
    site: RaySite

    def launch(self) -> Launch:
        """Return the filled job script and, for AWS, the cluster's configuration. Raises BadInput."""
        order, site = self.order, self.site
        check_visible(order.campaign, order.store, site.shared)
        check_absolute(order.campaign, order.store)
        folder = order.folder
        text = script(order, site, site.nodes, ["doctor", "run"] if site.preflight and site.aws else ["run"], site.recipe)
        files = {"campaign.sh": text}
        status = f"barrage status {order.store}"
        if site.aws is None:
            submit = ["ray", "job", "submit", "--address", str(site.address), *submission(order, site, text)]
            address = f"--address {site.address}"
            return Launch(
                files, [submit], [f"ray job list {address}", status], [f"ray job stop {address} ID    # as printed above"]
            )
        check_room(order.campaign, site.aws.groups)
        config = folder / "aws.yaml"
        files[config.name] = fill("ray/aws.yaml", None, order=order, site=site, aws=site.aws, token=TOKEN)
        inside = shlex.join(["ray", "job", "submit", *submission(order, site, text)])
        commands = [["ray", "up", "--yes", str(config)], ["ray", "exec", str(config), inside]]
        follow = [f"ray exec {config} 'ray job list'", status]
        return Launch(files, commands, follow, [f"ray down {config}    # the machines too: this ends the costs"])

    def check(self, launch: Launch) -> None:
        """Check that the cluster answers and its nodes pass `barrage doctor`, or that AWS can be asked. Raises BadInput."""
        require_tool("ray", "install barrage with its dependencies, and put its environment on the PATH")
        if self.site.aws:
            self._check_aws()
        else:
            self._check_cluster()

    def _check_cluster(self) -> None:
        """Raise BadInput if the cluster does not answer, the campaign runs there already, or its nodes fail a check."""
        from ray.job_submission import JobSubmissionClient

        try:
            client = JobSubmissionClient(str(self.site.address))
            jobs = client.list_jobs()
        except Exception as error:  # Ray raises many kinds: connection, token, versions
            reason = " ".join(str(error).split())[:300]
            raise BadInput(f"no Ray cluster answers at address {self.site.address}: {reason}") from None
        for job in jobs:
            if (job.metadata or {}).get("campaign") == self.order.name and not job.status.is_terminal():
                raise BadInput(
                    f"{self.order.name} runs there already: `ray job stop --address {self.site.address} {job.submission_id}` "
                    "first, or wait"
                )
        if self.site.preflight:
            self._run_doctor(client)

    def _run_doctor(self, client: Any) -> None:
        """Run `barrage doctor` on the cluster as a job. Raises BadInput with the checks that failed."""
        text = script(self.order, self.site, self.site.nodes, ["doctor"], self.site.recipe)
        entry = shlex.join(["python3", "-c", START])
        job = client.submit_job(
            entrypoint=entry, runtime_env=environment(self.site, text), metadata={"doctor": self.order.name}
        )
        end = time.monotonic() + DOCTOR_SECONDS
        while not (status := client.get_job_status(job)).is_terminal():
            if time.monotonic() > end:
                client.stop_job(job)
                log = f"ray job logs --address {self.site.address} {job}"
                raise BadInput(f"`barrage doctor` did not end in {DOCTOR_SECONDS:.0f} s: read its log with `{log}`")
            time.sleep(1)
        if status == "SUCCEEDED":
            return
        log = client.get_job_logs(job)
        reports = [line for line in log.splitlines() if line.startswith("[{")]
        crash = [{"check": "doctor", "passed": False, "found": log[-300:], "remedy": ""}]
        findings = json.loads(reports[-1]) if reports else crash
        faults = [f"{each['check']}: {each['found']}: {each['remedy']}" for each in findings if each["passed"] is False]
        raise BadInput(" ".join(f"the nodes failed `barrage doctor`: {'; '.join(faults)}".split()))

    def _check_aws(self) -> None:
        """Raise BadInput if what `ray up` needs to use AWS is missing here."""
        if find_spec("boto3") is None:
            raise BadInput("boto3 is not installed here, `ray up` needs it to ask AWS: pip install boto3")
        if not Path(os.path.expanduser(TOKEN)).is_file():
            raise BadInput(f"{TOKEN} does not exist, it keeps other users out of the cluster: ray get-auth-token --generate")
        import boto3

        if boto3.Session().get_credentials() is None:
            raise BadInput("AWS credentials were not found: run `aws configure`, or set AWS_PROFILE")
