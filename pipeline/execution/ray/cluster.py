"""Describe the nodes of a Ray cluster: what they have, which of them have room for a worker, which are about to leave."""

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.config.fields import Share
from pipeline.errors import BadInput, ClusterLost
from pipeline.execution.ray import private
from pipeline.execution.ray.private import Ray

POLL_SECONDS = 2.0
"""Between two questions to the cluster."""

LOST_SECONDS = 40.0
"""Without an answer, until the cluster counts as lost. Ray itself ends the process after 60 s, with its own message."""

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Need:
    """Describe what one worker needs of a node."""

    cpus: float
    gpus: float
    accelerator: str | None
    labels: Mapping[str, str]

    def room(self, resources: Resources) -> int:
        """Return how many workers fit onto a node with these resources."""
        if self.accelerator and f"accelerator_type:{self.accelerator}" not in resources:
            return 0
        fits = resources.get("CPU", 0) / self.cpus
        if self.gpus:
            fits = min(fits, resources.get("GPU", 0) / self.gpus)
        return int(fits + 1e-6)

    def options(self, without: Collection[str]) -> dict[str, object]:
        """Return Ray's options of an actor with this need, which stays off the nodes `without`."""
        wanted: dict[str, object] = {"num_cpus": self.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}
        if self.accelerator:
            wanted["accelerator_type"] = self.accelerator
        labels = dict(self.labels) | ({"ray.io/node-id": f"!in({','.join(sorted(without))})"} if without else {})
        return wanted | ({"label_selector": labels} if labels else {})

    def __str__(self) -> str:
        """Return the need in words, such as "4 cores and 1 GPUs of type V100 each"."""
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        kind = f" of type {self.accelerator}" if self.accelerator else ""
        labels = f" on nodes labelled {', '.join(f'{k}: {v}' for k, v in self.labels.items())}" if self.labels else ""
        return f"{self.cpus:g} cores{gpus}{kind} each{labels}"


@dataclass(frozen=True)
class Node:
    """Describe one machine of the cluster."""

    id: str
    resources: Resources
    labels: Mapping[str, str]

    def room(self, need: Need) -> int:
        """Return how many workers fit onto it."""
        return need.room(self.resources) if need.labels.items() <= self.labels.items() else 0

    def __str__(self) -> str:
        """Return what it has, in words."""
        kinds = [key.partition(":")[2] for key in self.resources if key.startswith("accelerator_type:")]
        text = f"{self.resources.get('CPU', 0):g} cores, {self.resources.get('GPU', 0):g} GPUs {' '.join(kinds)}".rstrip()
        labels = [f"{k}: {v}" for k, v in sorted(self.labels.items()) if not k.startswith("ray.io/")]
        return f"({'; '.join([text, *labels])})"


@dataclass(frozen=True)
class View:
    """Describe the cluster at one moment: its living nodes, those that are about to leave, what the autoscaler may add."""

    nodes: tuple[Node, ...]
    draining: frozenset[str]
    types: tuple[tuple[Resources, int], ...]
    """(resources of a node, how many the autoscaler may have) of each node type."""
    at: float
    """When it was seen, on the monotonic clock."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """Return the ids of the living nodes."""
        return frozenset(node.id for node in self.nodes)

    def room(self, need: Need, without: Collection[str] = ()) -> int:
        """Return how many workers fit onto the nodes that stay, but for those in `without`."""
        return sum(node.room(need) for node in self.nodes if node.id not in self.draining and node.id not in without)

    def most(self, need: Need) -> int:
        """Return how many workers fit once the autoscaler has added what it may. It does not tell the labels of new nodes."""
        return max(self.room(need), sum(need.room(resources) * count for resources, count in self.types))


class Cluster:
    """Watch a connected Ray cluster. A thread asks for its state again and again, so that no caller waits for an answer."""

    def __init__(self, ray: Ray) -> None:
        private.check(ray)
        self._ray = ray
        self._closed = threading.Event()
        self.view = self._poll()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def check(self) -> None:
        """Raise ClusterLost if the cluster no longer answers or has lost its last node.

        If this process started Ray, its processes are checked too: if the raylet dies, Ray ends this process without an error.
        """
        if dead := private.dead_process(self._ray):
            raise ClusterLost(f"the {dead} of the Ray that was started here is gone")
        if time.monotonic() - self.view.at > LOST_SECONDS:
            raise ClusterLost(f"Ray has not answered for {LOST_SECONDS:.0f} s")
        if not self.view.nodes:
            raise ClusterLost("the last node of the Ray cluster is gone")

    def need(self, share: Share) -> Need:
        """Return what each worker needs here. Raises BadInput if no node has it, and none that may come."""
        view = self.view
        known = [node.resources for node in view.nodes] + [resources for resources, _ in view.types]
        gpus = share.gpus
        if gpus is None:
            gpus = 1.0 if share.accelerator or any(resources.get("GPU") for resources in known) else 0.0
        need = Need(share.cpus, gpus, share.accelerator, share.labels)
        if not view.most(need):
            counts = Counter(map(str, view.nodes))
            there = ", ".join(f"{n} x {node}" for node, n in counts.items())
            raise BadInput(f"workers ask for {need}, the cluster has {there}: ask for less, or join nodes that have it")
        return need

    def limit(self, share: Share, need: Need) -> int:
        """Return the most workers that fit now, or once the autoscaler has added nodes."""
        return min(share.count or 1 << 30, self.view.most(need))

    def _watch(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                self.view = self._poll()
            except Exception:  # no answer: the view grows old, which `check` sees
                continue

    def _poll(self) -> View:
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        nodes = tuple(Node(node["NodeID"], node["Resources"], node["Labels"]) for node in alive)
        return View(nodes, private.draining_nodes(self._ray), tuple(private.node_types(self._ray)), time.monotonic())
