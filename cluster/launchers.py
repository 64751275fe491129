"""The kinds of cluster, by the name that `--on` takes."""

from pathlib import Path
from typing import Any

from cluster.cluster_file import Site, read
from cluster.kuberay.launcher import KubeRay, KubeSite
from cluster.launch_orders import Launcher, Order
from cluster.ray.launcher import Ray, RaySite
from cluster.slurm.launcher import Slurm, SlurmSite
from pipeline.config.campaign import load

KINDS: dict[str, tuple[type[Site], Any]] = {
    "slurm": (SlurmSite, Slurm),
    "kuberay": (KubeSite, KubeRay),
    "ray": (RaySite, Ray),
}
"""A cluster file's schema, and the launcher for (order, cluster file)."""


def launcher(on: str, file: Path, cluster: Path, store: str | None) -> Launcher:
    """A campaign on a cluster, everything read and nothing asked. Raises BadInput."""
    campaign = load(file)
    schema, kind = KINDS[on]
    site = read(cluster, schema)
    url = store or site.store or campaign.store or f"stores/{campaign.name}"
    return kind(Order(file, campaign, url, Path("launched") / campaign.name), site)
