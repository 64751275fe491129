"""Check every node that a campaign would run on, before money is spent: `barrage doctor`."""

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
from cluster.node_facts import Facts, Request, probe
from pipeline.config.campaign import Campaign
from pipeline.config.fields import Share
from pipeline.costs.campaign_cost import Asked, quote
from pipeline.costs.quote_text import lines
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.execution.ray.cluster import Cluster
from pipeline.store.layout import Store

JOIN_SECONDS = 300.0
"""Time for nodes to join the cluster."""

ANSWER_SECONDS = 300.0
"""Time for a node to answer."""

CLOCK_READINGS = 3
"""Readings of a node's clock; the quickest counts."""

Say = Callable[[str], None]
"""Print one line of progress."""


def doctor(campaign: Campaign | None, store: str | None, nodes: int, rate: bool, say: Say) -> list[Finding]:
    """Check the nodes of the Ray cluster at RAY_ADDRESS, or this machine if that is not set; leave nothing behind.

    campaign  whose shards are opened and whose workers must fit; default: no shards, plain workers
    store     folder or URL to write a file to
    nodes     nodes that must be there
    rate      measure the speed of a worker
    Raises BadInput if the cluster does not answer.
    """
    share = campaign.workers if campaign else Share()
    paths = [str(path) for path in shards.paths(campaign.data)] if campaign else []
    request = Request(paths, store, f"doctor-{uuid.uuid4().hex}")
    measured = campaign if rate else None
    with _nodes(os.environ.get("RAY_ADDRESS")) as cluster:
        try:
            facts = cluster.facts(request, nodes, say)
        finally:
            if store:
                with suppress(Exception):  # a store that cannot be written is a failed check, not an error
                    Store(store).remove(request.token)
        results = findings(facts, share, max(nodes, cluster.joined), store is not None)
        results += [cluster.workers(share)] if campaign else []
        return results + ([cluster.speed(measured)] if measured else [])


def _speed(campaign: Campaign) -> Finding:
    """Measure this machine, and return its speed with the cost of the campaign at that speed."""
    cost = quote(campaign, Asked())
    return Finding("speed", None, f"{cost.device}: {' '.join(lines(cost))}")


def clock_ahead(clock: Callable[[], float]) -> float:
    """Return the seconds by which a clock is ahead of this machine's.

    clock  returns seconds since 1970 and may take long. Its answer is compared with the middle of the time it took, and the
           quickest of CLOCK_READINGS answers counts.
    """
    readings = []
    for _ in range(CLOCK_READINGS):
        began = time.time()
        remote = clock()
        ended = time.time()
        readings.append((ended - began, remote - (began + ended) / 2))
    return min(readings)[1]


def _usable_by_ray(facts: Facts, resources: Mapping[str, float]) -> Facts:
    """Return a node's facts limited to what Ray may use, which is less than the machine has on a shared node or in a pod."""
    memory = min(facts.memory, int(resources.get("memory", facts.memory) + resources.get("object_store_memory", 0)))
    return replace(facts, cpus=resources.get("CPU", 0), memory=memory, ray_gpus=resources.get("GPU", 0))


class Reporter:
    """Answer questions about the node on which this actor runs."""

    def facts(self, request: Request) -> Facts:
        """Return the node's facts."""
        return probe(request)

    def clock(self) -> float:
        """Return the node's time in seconds since 1970."""
        return time.time()


class Alone:
    """Check this machine in this process."""

    joined = 1

    def facts(self, request: Request, nodes: int, say: Say) -> list[Facts]:
        """Return the facts of this machine."""
        return [probe(request)]

    def workers(self, share: Share) -> Finding:
        """Return a note: without a cluster, `run` starts Ray on this machine."""
        return Finding("workers", None, "`run` starts Ray here, with all cores and GPUs of this machine")

    def speed(self, campaign: Campaign) -> Finding:
        """Return the speed of this machine."""
        return _speed(campaign)


class OnRay:
    """Check every node of a Ray cluster by an actor that runs there.

    joined  number of nodes, known after `facts`
    """

    def __init__(self, ray: Any) -> None:
        self._ray, self.joined = ray, 0

    def facts(self, request: Request, nodes: int, say: Say) -> list[Facts]:
        """Return the facts of the nodes that answer, after `nodes` of them have joined or JOIN_SECONDS have passed."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        alive = _joined(self._ray.nodes, nodes, say)
        self.joined = len(alive)
        on_node = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in alive]
        reporters = [self._ray.remote(Reporter).options(num_cpus=0, scheduling_strategy=node).remote() for node in on_node]
        answers = [reporter.facts.remote(request) for reporter in reporters]
        self._ray.wait(answers, num_returns=len(answers), timeout=ANSWER_SECONDS)
        collected = []
        for node, reporter, answer in zip(alive, reporters, answers, strict=True):
            try:
                facts = self._ray.get(answer, timeout=1)
                ahead = clock_ahead(partial(self._clock, reporter))
                collected.append(replace(_usable_by_ray(facts, node["Resources"]), clock_ahead=ahead))
            except self._ray.exceptions.RayError as error:
                say(f"{node['NodeManagerHostname']} gave no answer: {' '.join(str(error).split())[-300:]}")
        return collected

    def _clock(self, reporter: Any) -> float:
        """Return a node's time."""
        return self._ray.get(reporter.clock.remote(), timeout=ANSWER_SECONDS)

    def workers(self, share: Share) -> Finding:
        """Check whether a worker fits on some node, by the same rule as `run`."""
        cluster = Cluster(self._ray)
        try:
            need = cluster.need(share)
            return Finding("workers", True, f"room for {cluster.limit(share, need)}, of {need}")
        except BadInput as error:
            return Finding("workers", False, str(error), "change `workers` in the campaign, or the nodes")
        finally:
            cluster.close()

    def speed(self, campaign: Campaign) -> Finding:
        """Measure the speed of one worker on some node of the cluster."""
        gpus = campaign.workers.gpus
        gpus = min(1.0, self._ray.cluster_resources().get("GPU", 0.0)) if gpus is None else gpus
        task = self._ray.remote(_speed).options(num_cpus=campaign.workers.cpus, num_gpus=gpus)
        try:
            return self._ray.get(task.remote(campaign), timeout=ANSWER_SECONDS)
        except self._ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[-300:]
            return Finding("speed", False, f"no worker could start: {reason}", "check that a node has what `workers` asks for")


@contextmanager
def _nodes(address: str | None) -> Iterator["Alone | OnRay"]:
    """Connect to the Ray cluster at `address`, or use this machine if it is None. Raises BadInput."""
    if not address:
        yield Alone()
        return
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"no Ray cluster answers at RAY_ADDRESS={address}: {reason}: start it, or unset RAY_ADDRESS") from None
    try:
        yield OnRay(ray)
    finally:
        ray.shutdown()


def _joined(listed: Callable[[], list[Any]], nodes: int, say: Say) -> list[Any]:
    """Wait until `nodes` nodes are alive or JOIN_SECONDS have passed; return those that are alive."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        alive = [node for node in listed() if node["Alive"]]
        if len(alive) >= nodes or time.monotonic() > end:
            return alive
        say(f"{len(alive)} of {nodes} nodes have joined")
        time.sleep(5)
