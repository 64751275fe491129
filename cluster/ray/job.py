"""What a job of a Ray cluster does, and how it is handed over."""

import json
from collections.abc import Collection
from typing import Any

from cluster.cluster_file import Site
from cluster.launch_orders import Order, fill, variables

SCRIPT = "BARRAGE_JOB"
"""The environment variable that holds what a job does."""

START = f"import os; os.execlp('bash', 'bash', '-c', os.environ['{SCRIPT}'])"
"""Runs it; quoted alike by every release of Ray."""


def script(order: Order, site: Site, nodes: int, steps: Collection[str], own: str | None = None) -> str:
    """The recipe of a job: the `doctor`, which waits for so many nodes, or the `run`, or both; the site's `own` in the place of
    the one that ships."""
    text = order.file.read_text().rstrip()
    return fill("ray/campaign.sh", own, order=order, site=site, nodes=nodes, steps=steps, campaign=text)


def environment(site: Site, text: str) -> dict[str, Any]:
    """The runtime environment of a job. There is no file to be looked for later: the script travels in a variable, since Ray
    may remove a job's folder once any driver in it has ended."""
    return {"env_vars": variables(site.environment) | {SCRIPT: text}}


def submission(order: Order, site: Site, text: str) -> list[str]:
    """The arguments of `ray job submit`. Who submits need not stay."""
    named = ["--metadata-json", json.dumps({"campaign": order.name})]
    return ["--no-wait", "--runtime-env-json", json.dumps(environment(site, text)), *named, "--", "python3", "-c", START]
