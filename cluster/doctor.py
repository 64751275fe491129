"""Looks at every node that a campaign would run on, before money is spent."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cluster.findings import Finding, findings
from cluster.probe import Facts, Wanted, probe
from pipeline import shards
from pipeline.campaign import BadInput, Campaign
from pipeline.quote import Asked, lines, quote
from pipeline.schema import Share
from pipeline.store import Store

JOIN_SECONDS = 300.0
"""That nodes have to join the cluster."""

ANSWER_SECONDS = 300.0
"""That they have to answer."""

Say = Callable[[str], None]


def doctor(campaign: Campaign | None, store: str | None, nodes: int, rate: bool, say: Say) -> list[Finding]:
    """Checks the nodes of the Ray cluster of RAY_ADDRESS, or this machine where there is none; the shards and workers are the
    campaign's. Leaves nothing behind. Raises BadInput for what cannot be asked at all."""
    share = campaign.workers if campaign else Share()
    paths = [str(path) for path in shards.paths(campaign.data)] if campaign else []
    wanted = Wanted(paths, store, f"doctor-{uuid.uuid4().hex}")
    measured = campaign if rate else None
    with _nodes(os.environ.get("RAY_ADDRESS")) as cluster:
        began = time.time()
        try:
            facts = cluster.facts(wanted, nodes, say)
        finally:
            if store:
                with suppress(Exception):  # a store that cannot be written is a finding
                    Store(store).remove(wanted.token)
        found = findings(facts, share, max(nodes, cluster.joined), began, time.time(), store is not None)
        return found + ([cluster.speed(measured)] if measured else [])


def _speed(campaign: Campaign) -> Finding:
    """What this machine does, and what the campaign costs at that rate."""
    found = quote(campaign, Asked())
    return Finding("speed", None, f"{found.device}: {' '.join(lines(found))}")


class Alone:
    """This machine, asked in this process."""

    joined = 1

    def facts(self, wanted: Wanted, nodes: int, say: Say) -> list[Facts]:
        return [probe(wanted)]

    def speed(self, campaign: Campaign) -> Finding:
        return _speed(campaign)


class OnRay:
    """Every node of a Ray cluster, asked by a task that runs there."""

    def __init__(self, ray: Any) -> None:
        self._ray, self.joined = ray, 0

    def facts(self, wanted: Wanted, nodes: int, say: Say) -> list[Facts]:
        """Of the nodes that answer, once so many have joined or JOIN_SECONDS have passed."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        alive = _joined(self._ray.nodes, nodes, say)
        self.joined = len(alive)
        asked = []
        for node in alive:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(self._ray.remote(probe).options(num_cpus=0, scheduling_strategy=there).remote(wanted))
        self._ray.wait(asked, num_returns=len(asked), timeout=ANSWER_SECONDS)
        found = []
        for node, answer in zip(alive, asked, strict=True):
            try:
                found.append(self._ray.get(answer, timeout=1))
            except self._ray.exceptions.RayError as error:
                say(f"{node['NodeManagerHostname']} gave no answer: {' '.join(str(error).split())[-300:]}")
        return found

    def speed(self, campaign: Campaign) -> Finding:
        gpus = campaign.workers.gpus
        gpus = min(1.0, self._ray.cluster_resources().get("GPU", 0.0)) if gpus is None else gpus
        task = self._ray.remote(_speed).options(num_cpus=campaign.workers.cpus, num_gpus=gpus)
        try:
            return self._ray.get(task.remote(campaign), timeout=ANSWER_SECONDS)
        except self._ray.exceptions.RayError as error:
            said = " ".join(str(error).split())[-300:]
            return Finding(
                "speed", False, f"no worker could be tried: {said}", "see whether a node has what `workers` asks for"
            )


@contextmanager
def _nodes(address: str | None) -> Iterator["Alone | OnRay"]:
    if not address:
        yield Alone()
        return
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"no Ray cluster answers at RAY_ADDRESS={address}: {said}: start it, or unset RAY_ADDRESS") from None
    try:
        yield OnRay(ray)
    finally:
        ray.shutdown()


def _joined(listed: Callable[[], list[Any]], nodes: int, say: Say) -> list[Any]:
    """The living nodes, once there are enough of them or JOIN_SECONDS have passed."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        alive = [node for node in listed() if node["Alive"]]
        if len(alive) >= nodes or time.monotonic() > end:
            return alive
        say(f"{len(alive)} of {nodes} nodes have joined")
        time.sleep(5)
