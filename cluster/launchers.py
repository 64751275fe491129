"""List the kinds of cluster by the name that `--on` takes."""

from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from cluster.cluster_file import Site, read
from cluster.kuberay.launcher import KubeRay, KubeSite
from cluster.launch_orders import Launcher, Order
from cluster.ray.launcher import Ray, RaySite
from cluster.slurm.launcher import Slurm, SlurmSite
from pipeline.config import schema as schemas
from pipeline.config.campaign import load

KINDS: dict[str, tuple[type[Site], Any]] = {
    "slurm": (SlurmSite, Slurm),
    "kuberay": (KubeSite, KubeRay),
    "ray": (RaySite, Ray),
}
"""The schema of the cluster file, and the launcher, which is called with (order, cluster file)."""


def schema() -> schemas.Schema:
    """Return the JSON schema of a cluster file, of any kind."""
    return schemas.of_type(reduce(or_, (site for site, _ in KINDS.values())), "The machines of a campaign of barrage")


def launcher(kind: str, file: Path, cluster: Path, store: str | None) -> Launcher:
    """Return the launcher of a campaign file on a cluster; reads both files, contacts no cluster. Raises BadInput.

    kind   a key of KINDS
    store  where results go; default: the cluster file's store, the campaign's store, or stores/NAME
    """
    campaign = load(file)
    settings, make = KINDS[kind]
    site = read(cluster, settings)
    url = store or site.store or campaign.store or f"stores/{campaign.name}"
    return make(Order(file, campaign, url, Path("launched") / campaign.name), site)
