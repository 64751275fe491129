"""Ray: a job of a cluster that runs, or of one that a cloud lends for the campaign."""

import json
import os
import shlex
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from cluster.cluster_file import Group, GroupName, Site, absolute, fits, seen
from cluster.launch_orders import Launch, Order, fill, tool
from cluster.ray.job import START, environment, script, submission
from pipeline.config.fields import Strict
from pipeline.errors import BadInput

TOKEN = "~/.ray/auth_token"

PATIENCE = 900.0
"""Seconds that the doctor has for its answer; it waits for nodes itself."""


class AwsGroup(Group):
    """Instances of one type, as many as there is work for."""

    instance: str = Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="p3.8xlarge has four V100")
    spot: bool = Field(True, description="cheaper, and taken away at any time")

    def named(self, name: str) -> dict[str, str]:
        """The labels of the group, of which one says whether its instances are spot ones."""
        return {"market-type": "spot" if self.spot else "on-demand"} | super().named(name)


class Aws(Strict):
    """A cluster that `ray up` makes on AWS, and that takes its nodes down when they are idle."""

    region: str = Field(pattern="^[a-z]{2}(-[a-z]+)+-[0-9]$")
    image: str = Field(description="a container image made from cluster/Dockerfile, where the nodes can pull it")
    machine_image: str = Field(
        pattern="^ami-[0-9a-f]+$", description="with NVIDIA's driver and Docker: a Deep Learning Base AMI"
    )
    head: str = Field("m5.2xlarge", description="the instance of the head, which holds the driver and is never a spot one")
    head_disk_gb: int = Field(200, ge=50)
    groups: dict[GroupName, AwsGroup] = Field(min_length=1)
    instance_profile: str | None = Field(
        None, pattern="^arn:aws[a-z-]*:iam::", description="the role by which nodes reach the store"
    )


class RaySite(Site):
    """A cluster file for Ray: either `address` or `aws`."""

    address: str | None = Field(None, pattern="^https?://", description="of the cluster's dashboard, such as http://head:8265")
    aws: Aws | None = None
    nodes: int = Field(1, ge=1, description="nodes that must have joined before the campaign begins")
    shared: bool = Field(False, description="true: local paths are on a file system that every node sees")

    @model_validator(mode="after")
    def _one(self) -> "RaySite":
        if (self.address is None) == (self.aws is None):
            raise ValueError("expected either `address`, of a cluster that runs, or `aws`, for one to be made")
        return self


@dataclass(frozen=True)
class Ray:
    """A campaign on a Ray cluster."""

    order: Order
    site: RaySite

    def launch(self) -> Launch:
        order, site = self.order, self.site
        seen(order.campaign, order.store, site.shared)
        absolute(order.campaign, order.store)
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
        fits(order.campaign, site.aws.groups)
        config = folder / "aws.yaml"
        files[config.name] = fill("ray/aws.yaml", None, order=order, site=site, aws=site.aws, token=TOKEN)
        inside = shlex.join(["ray", "job", "submit", *submission(order, site, text)])
        commands = [["ray", "up", "--yes", str(config)], ["ray", "exec", str(config), inside]]
        follow = [f"ray exec {config} 'ray job list'", status]
        return Launch(files, commands, follow, [f"ray down {config}    # the machines too: this ends the costs"])

    def check(self, launch: Launch) -> None:
        tool("ray", "install barrage with its dependencies, and put its environment on the PATH")
        if self.site.aws:
            self._check_aws()
        else:
            self._check_cluster()

    def _check_cluster(self) -> None:
        from ray.job_submission import JobSubmissionClient

        try:
            client = JobSubmissionClient(str(self.site.address))
            jobs = client.list_jobs()
        except Exception as error:  # of the connection, the token or the versions
            said = " ".join(str(error).split())[:300]
            raise BadInput(f"no Ray cluster answers at address {self.site.address}: {said}") from None
        for job in jobs:
            if (job.metadata or {}).get("campaign") == self.order.name and not job.status.is_terminal():
                raise BadInput(
                    f"{self.order.name} runs there already: `ray job stop --address {self.site.address} {job.submission_id}` "
                    "first, or wait"
                )
        if self.site.preflight:
            self._examine(client)

    def _examine(self, client: Any) -> None:
        """Has the doctor look at the nodes, as a job of its own. Raises BadInput with what it found wrong."""
        text = script(self.order, self.site, self.site.nodes, ["doctor"], self.site.recipe)
        entry = shlex.join(["python3", "-c", START])
        job = client.submit_job(
            entrypoint=entry, runtime_env=environment(self.site, text), metadata={"doctor": self.order.name}
        )
        end = time.monotonic() + PATIENCE
        while not (status := client.get_job_status(job)).is_terminal():
            if time.monotonic() > end:
                client.stop_job(job)
                raise BadInput(
                    f"the doctor gave no answer in {PATIENCE:.0f} s: see `ray job logs --address {self.site.address} {job}`"
                )
            time.sleep(1)
        if status == "SUCCEEDED":
            return
        log = client.get_job_logs(job)
        tables = [line for line in log.splitlines() if line.startswith("[{")]
        found = json.loads(tables[-1]) if tables else [{"check": "doctor", "passed": False, "found": log[-300:], "remedy": ""}]
        faults = [f"{each['check']}: {each['found']}: {each['remedy']}" for each in found if each["passed"] is False]
        raise BadInput(" ".join(f"the nodes cannot do it: {'; '.join(faults)}".split()))

    def _check_aws(self) -> None:
        if find_spec("boto3") is None:
            raise BadInput("boto3 is not installed here, without which `ray up` cannot ask AWS: pip install boto3")
        if not Path(os.path.expanduser(TOKEN)).is_file():
            raise BadInput(f"{TOKEN} does not exist, which keeps others out of the cluster: ray get-auth-token --generate")
        import boto3

        if boto3.Session().get_credentials() is None:
            raise BadInput("AWS credentials were not found: run `aws configure`, or set AWS_PROFILE")
