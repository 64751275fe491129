"""The nodes of a Ray cluster: what they have, which of them could hold a worker, and which are about to leave."""

import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.fields import Share
from pipeline.errors import BadInput, ClusterLost

LOOK_SECONDS = 2.0
"""Between two looks at the cluster."""

GONE_SECONDS = 40.0
"""Without an answer from the cluster, until it is given up. Ray ends the process after 60 s, with a message of its own."""

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Need:
    """What one worker needs of a node."""

    cpus: float
    gpus: float
    accelerator: str | None
    labels: Mapping[str, str]

    def room(self, has: Resources) -> int:
        """How many workers fit onto a node with these resources."""
        if self.accelerator and f"accelerator_type:{self.accelerator}" not in has:
            return 0
        fits = has.get("CPU", 0) / self.cpus
        if self.gpus:
            fits = min(fits, has.get("GPU", 0) / self.gpus)
        return int(fits + 1e-6)

    def options(self, without: Collection[str]) -> dict[str, Any]:
        """Ray's options of such an actor, that is to stay off some nodes."""
        wanted: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}
        if self.accelerator:
            wanted["accelerator_type"] = self.accelerator
        labels = dict(self.labels) | ({"ray.io/node-id": f"!in({','.join(sorted(without))})"} if without else {})
        return wanted | ({"label_selector": labels} if labels else {})

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        kind = f" of type {self.accelerator}" if self.accelerator else ""
        labels = f" on nodes labelled {', '.join(f'{k}: {v}' for k, v in self.labels.items())}" if self.labels else ""
        return f"{self.cpus:g} cores{gpus}{kind} each{labels}"


@dataclass(frozen=True)
class Node:
    """One machine of the cluster."""

    id: str
    resources: Resources
    labels: Mapping[str, str]

    def room(self, need: Need) -> int:
        """How many workers fit onto it."""
        return need.room(self.resources) if need.labels.items() <= self.labels.items() else 0

    def __str__(self) -> str:
        kinds = [key.partition(":")[2] for key in self.resources if key.startswith("accelerator_type:")]
        text = f"{self.resources.get('CPU', 0):g} cores, {self.resources.get('GPU', 0):g} GPUs {' '.join(kinds)}".rstrip()
        labels = [f"{k}: {v}" for k, v in sorted(self.labels.items()) if not k.startswith("ray.io/")]
        return f"({'; '.join([text, *labels])})"


@dataclass(frozen=True)
class View:
    """The cluster at a moment: its living nodes, those of them that leave, and what the autoscaler could add."""

    nodes: tuple[Node, ...]
    draining: frozenset[str]
    types: tuple[tuple[Resources, int], ...]
    at: float

    def room(self, need: Need, without: Collection[str] = ()) -> int:
        """How many workers fit onto the nodes that stay."""
        return sum(node.room(need) for node in self.nodes if node.id not in self.draining and node.id not in without)

    def most(self, need: Need) -> int:
        """How many workers fit once the autoscaler has added what it may; it does not tell labels."""
        return max(self.room(need), sum(need.room(has) * count for has, count in self.types))


VITAL = ("raylet", "gcs_server")
"""Processes that no Ray goes on without."""


class Cluster:
    """A connected Ray cluster, looked at again and again by a thread, so that nobody waits for an answer."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._left = threading.Event()
        self.view = self._look()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Looks no more."""
        self._left.set()

    def check(self) -> None:
        """Raises ClusterLost if the cluster answers no more or has lost its last node.

        A Ray that was started here is looked at itself: once it misses its raylet, it ends this process without a word.
        """
        started = self._ray._private.worker._global_node
        for kind, _ in started.dead_processes() if started else ():
            if kind in VITAL:
                raise ClusterLost(f"the {kind} of the Ray that was started here is gone")
        if time.monotonic() - self.view.at > GONE_SECONDS:
            raise ClusterLost(f"Ray has not answered for {GONE_SECONDS:.0f} s")
        if not self.view.nodes:
            raise ClusterLost("the last node of the Ray cluster is gone")

    def need(self, share: Share) -> Need:
        """What each worker needs here. Raises BadInput if no node has it and none may come that has."""
        view = self.view
        some = [node.resources for node in view.nodes] + [has for has, _ in view.types]
        gpus = share.gpus
        if gpus is None:
            gpus = 1.0 if share.accelerator or any(has.get("GPU") for has in some) else 0.0
        need = Need(share.cpus, gpus, share.accelerator, share.labels)
        if not view.most(need):
            counts = Counter(map(str, view.nodes))
            there = ", ".join(f"{n} x {node}" for node, n in counts.items())
            raise BadInput(f"workers ask for {need}, the cluster has {there}: ask for less, or join nodes that have it")
        return need

    def limit(self, share: Share, need: Need) -> int:
        """The most workers that there is room for, or will be once the autoscaler has made it."""
        return min(share.count or 1 << 30, self.view.most(need))

    def _watch(self) -> None:
        while not self._left.wait(LOOK_SECONDS):
            try:
                self.view = self._look()
            except Exception:  # no answer: the view grows old, which `check` sees
                continue

    def _look(self) -> View:
        state = self._ray._private.state.state
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        nodes = tuple(Node(node["NodeID"], node["Resources"], node["Labels"]) for node in alive)
        config = state.get_cluster_config()
        groups = config.node_group_configs if config else ()
        types = tuple((dict(group.resources), max(0, group.max_count)) for group in groups)
        return View(nodes, frozenset(state.get_draining_nodes()), types, time.monotonic())


def start(ray: Any, address: str | None) -> None:
    """Joins the cluster at `address` or of RAY_ADDRESS, or starts one here that ends with this process. Raises BadInput."""
    address = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if not address:  # "local", or Ray would join what somebody else started on this machine
        ray.init(address="local", include_dashboard=False, object_store_memory=100_000_000, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"no Ray cluster answers at {address}: start it, or leave the address out ({reason})") from None
