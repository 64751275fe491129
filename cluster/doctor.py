"""Looks at every node that a campaign would run on, before money is spent."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from cluster.node_checks import Finding, findings
from cluster.node_facts import Facts, Wanted, probe
from pipeline.config.campaign import Campaign
from pipeline.config.fields import Share
from pipeline.costs.campaign_cost import Asked, quote
from pipeline.costs.quote_text import lines
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.execution.ray.cluster import Cluster
from pipeline.store.layout import Store

JOIN_SECONDS = 300.0
"""That nodes have to join the cluster."""

ANSWER_SECONDS = 300.0
"""That they have to answer."""

LOOKS = 3
"""At a node's clock."""

Say = Callable[[str], None]


def doctor(campaign: Campaign | None, store: str | None, nodes: int, rate: bool, say: Say) -> list[Finding]:
    """Checks the nodes of the Ray cluster of RAY_ADDRESS, or this machine where there is none; the shards and workers are the
    campaign's. Leaves nothing behind. Raises BadInput for what cannot be asked at all."""
    share = campaign.workers if campaign else Share()
    paths = [str(path) for path in shards.paths(campaign.data)] if campaign else []
    wanted = Wanted(paths, store, f"doctor-{uuid.uuid4().hex}")
    measured = campaign if rate else None
    with _nodes(os.environ.get("RAY_ADDRESS")) as cluster:
        try:
            facts = cluster.facts(wanted, nodes, say)
        finally:
            if store:
                with suppress(Exception):  # a store that cannot be written is a finding
                    Store(store).remove(wanted.token)
        found = findings(facts, share, max(nodes, cluster.joined), store is not None)
        found += [cluster.workers(share)] if campaign else []
        return found + ([cluster.speed(measured)] if measured else [])


def _speed(campaign: Campaign) -> Finding:
    """What this machine does, and what the campaign costs at that rate."""
    found = quote(campaign, Asked())
    return Finding("speed", None, f"{found.device}: {' '.join(lines(found))}")


def ahead(clock: Callable[[], float]) -> float:
    """Seconds that a clock is ahead of this machine's: by the quickest of a few answers, read halfway between question and
    answer."""
    found = []
    for _ in range(LOOKS):
        began = time.time()
        there = clock()
        ended = time.time()
        found.append((ended - began, there - (began + ended) / 2))
    return min(found)[1]


def _may_use(facts: Facts, has: Mapping[str, float]) -> Facts:
    """A node's facts with what Ray may use of it, which on a shared node or in a pod is less than there is."""
    memory = min(facts.memory, int(has.get("memory", facts.memory) + has.get("object_store_memory", 0)))
    return replace(facts, cpus=has.get("CPU", 0), memory=memory, lent=has.get("GPU", 0))


class Asker:
    """On a node."""

    def facts(self, wanted: Wanted) -> Facts:
        return probe(wanted)

    def clock(self) -> float:
        """Seconds since 1970."""
        return time.time()


class Alone:
    """This machine, asked in this process."""

    joined = 1

    def facts(self, wanted: Wanted, nodes: int, say: Say) -> list[Facts]:
        return [probe(wanted)]

    def workers(self, share: Share) -> Finding:
        return Finding("workers", None, "`run` starts a Ray here that has what this machine has")

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
        there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in alive]
        askers = [self._ray.remote(Asker).options(num_cpus=0, scheduling_strategy=node).remote() for node in there]
        asked = [asker.facts.remote(wanted) for asker in askers]
        self._ray.wait(asked, num_returns=len(asked), timeout=ANSWER_SECONDS)
        found = []
        for node, asker, answer in zip(alive, askers, asked, strict=True):
            try:
                facts = self._ray.get(answer, timeout=1)
                skew = ahead(partial(self._clock, asker))
                found.append(replace(_may_use(facts, node["Resources"]), ahead=skew))
            except self._ray.exceptions.RayError as error:
                say(f"{node['NodeManagerHostname']} gave no answer: {' '.join(str(error).split())[-300:]}")
        return found

    def _clock(self, asker: Any) -> float:
        return self._ray.get(asker.clock.remote(), timeout=ANSWER_SECONDS)

    def workers(self, share: Share) -> Finding:
        """Whether some node holds a worker, as `run` sees it."""
        cluster = Cluster(self._ray)
        try:
            need = cluster.need(share)
            return Finding("workers", True, f"room for {cluster.limit(share, need)}, of {need}")
        except BadInput as error:
            return Finding("workers", False, str(error), "change `workers` in the campaign, or the nodes")
        finally:
            cluster.close()

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
