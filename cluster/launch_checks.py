"""Check, before anything is submitted, that nodes see a campaign's files and have room for its workers."""

import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from cluster.cluster_file import Group
from pipeline.config.campaign import Campaign
from pipeline.data.pack.classes import SHIPPED
from pipeline.errors import BadInput


def campaign_paths(campaign: Campaign, store: str) -> dict[str, str]:
    """Return every path or URL that workers must reach: {what it is: path}."""
    paths = {"store": store} | campaign.data.places
    if isinstance(campaign.data.classes, str) and campaign.data.classes != SHIPPED:
        paths["data.classes"] = campaign.data.classes
    for name, model in campaign.models.items():
        if model.weights and "/" in model.weights:
            paths[f"weights of model {name}"] = model.weights
    for name, attack in campaign.attacks.items():
        if networks := getattr(attack, "networks", None):
            paths[f"networks of attack {name}"] = networks
    return paths


def is_local(path: str) -> bool:
    """Return whether `path` is a path of a file system and not a URL."""
    return "://" not in path


def check_visible(campaign: Campaign, store: str, shared: bool | str) -> None:
    """Raise BadInput for a path that the nodes may not see.

    shared  the folder that all nodes see; True: they see every path; False: they see none
    """
    for what, path in campaign_paths(campaign, store).items():
        if not is_local(path) or shared is True:
            continue
        if not shared:
            raise BadInput(
                f"{what} is the path {path}, which the nodes may not see: move it to a shared file system and set "
                "`shared` in the cluster file, or use a URL"
            )
        if path.startswith("/") and not PurePosixPath(os.path.normpath(path)).is_relative_to(shared):
            raise BadInput(f"{what} is the path {path}, but the nodes see only {shared}: move it there, or use a URL")


def check_absolute(campaign: Campaign, store: str) -> None:
    """Raise BadInput for a relative path: the job runs in another folder."""
    for what, path in campaign_paths(campaign, store).items():
        if is_local(path) and not path.startswith("/"):
            raise BadInput(f"{what} is the relative path {path}, but the job runs in another folder: write an absolute path")


def check_room(campaign: Campaign, groups: Mapping[str, Group]) -> None:
    """Raise BadInput if no node has what one worker needs."""
    worker = campaign.workers
    if any(group.has_room(name, worker) for name, group in groups.items()):
        return
    labels = [f"label {key}: {value}" for key, value in worker.labels.items()]
    gpus = f"{worker.gpus or float(worker.accelerator is not None):g} GPUs {worker.accelerator or ''}".rstrip()
    needs = ", ".join([f"{worker.cpus:g} cores", gpus, *labels])
    nodes = "; ".join(f"{name}: {group}" for name, group in groups.items())
    raise BadInput(
        f"workers ask for {needs} each, no group of the cluster file has that on one node ({nodes}): ask for less, or correct "
        "the group"
    )
