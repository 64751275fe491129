"""Build the script of a Ray job and the arguments that submit it."""

import json
from collections.abc import Collection
from typing import Any

from cluster.cluster_file import Site
from cluster.launch_orders import Order
from cluster.templates import fill, process_environment

SCRIPT = "BARRAGE_JOB"
"""Environment variable that holds the job's script."""

START = f"import os; os.execlp('bash', 'bash', '-c', os.environ['{SCRIPT}'])"
"""Python that runs the script; every release of Ray quotes it in the same way."""


def script(order: Order, site: Site, nodes: int, steps: Collection[str], edited_copy: str | None = None) -> str:
    """Return the script of a job.

    nodes        nodes that `barrage doctor` waits for
    steps        "doctor", "run" or both
    edited_copy  path of the site's own version of campaign.sh, used instead
    """
    text = order.file.read_text().rstrip()
    return fill("ray/campaign.sh", edited_copy, order=order, site=site, nodes=nodes, steps=steps, campaign=text)


def environment(site: Site, text: str) -> dict[str, Any]:
    """Return the runtime environment of a job.

    The script travels in a variable, not in a file: Ray may remove a job's folder once any driver in it has ended.
    """
    return {"env_vars": process_environment(site.environment) | {SCRIPT: text}}


def submission(order: Order, site: Site, text: str) -> list[str]:
    """Return the arguments of `ray job submit`; it returns at once, and the job belongs to the cluster."""
    metadata = ["--metadata-json", json.dumps({"campaign": order.name})]
    return ["--no-wait", "--runtime-env-json", json.dumps(environment(site, text)), *metadata, "--", "python3", "-c", START]
