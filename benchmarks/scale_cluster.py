"""Simulate a campaign on hundreds of nodes in virtual time: python -m benchmarks.scale cluster [--before COMMIT]

The driver, its queue, its pool of actors, the cut into units, the pace of checkpoints, the files of a store and their listing
are the product's own code; the processor time that it takes is part of the virtual time. Simulated are Ray, the machines, and
the store's network: a bandwidth that all share. Units compute nothing. The campaign is 50,000 images x 88 cells of 475
GPU-hours, in four kinds of attacks. With --before, the build of that commit comes first.

Assumed: a process is ready after 10 s, a first unit takes 10 s more, a call of Ray costs the driver 0.2 ms, its answer as much,
an actor 1.5 ms; the cluster starts --actors-a-second. Nodes are lost at random, half of them with a notice of 30 s, and are
replaced after two minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import ROOT, checkout
from benchmarks.simulated.clock import Clock
from benchmarks.simulated.fake_ray import FakeRay, SimulatedCluster
from benchmarks.simulated.link import Link
from benchmarks.simulated.machines import GPUS, World
from benchmarks.simulated.work import WITH_WORKERS, Work
from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import Job
from pipeline.campaigns.next_units import Release
from pipeline.config.campaign import parse
from pipeline.data.shards import Shard
from pipeline.execution.queue import Queue
from pipeline.execution.ray import actor_pool, dispatch
from pipeline.execution.ray.cluster import Need
from pipeline.planning import cost
from pipeline.status.summary import Reader

ATTACKS = {"pgd": 2, "apgd": 4, "aggmo": 7, "lbfgs": 20}
"""Kinds, with the images that the state of each holds."""

IMAGES, SHARDS, DEFENSES = 50_000, 50, 22


def campaign(store: str, hours: float, workers: int) -> tuple[Job, dict[str, tuple[float, float]]]:
    """Return the job of the campaign in a new store, and the seconds and bytes of state of an image, by cell."""
    content: dict[str, Any] = {
        "name": "cluster",
        "data": {"shards": "none.tar"},
        "models": {"resnet50": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}},
        "defenses": {f"bart{i}": {"k": 1 + i % 10} for i in range(DEFENSES)},
        "attacks": {kind: {"kind": kind, "eps": "8/255"} for kind in ATTACKS},
        "cells": [{"model": "resnet50", "attack": list(ATTACKS)}],
    }
    content["cells"][0]["defense"] = list(content["defenses"])
    names = [f"val-{place:06d}" for place in range(SHARDS)]
    job = Job(
        parse(content, "benchmark"), {n: Shard(f"{n}.tar", "0" * 64, 1, IMAGES // SHARDS, (0, 999)) for n in names}, store
    )
    seconds = 3600 * hours / IMAGES / len(job.cells)
    each = {name: (seconds, 12.0 * 224**2 * ATTACKS[cell.attack_name]) for name, cell in job.cells.items()}
    rates = {name: cost.of_image(cell) / seconds for name, cell in job.cells.items()}
    job = job.with_cuts(rates, workers) if WITH_WORKERS else job.with_cuts(rates)
    return job.write_down(), each


def played(args: argparse.Namespace, store: str) -> None:
    """Simulate the campaign to its end, and print what became of the time."""
    workers, clock = args.nodes * GPUS, Clock()
    for module in (actor_pool, dispatch):
        vars(module)["time"] = clock
    job, each = campaign(store, args.hours, workers)
    (Path(store) / "results").mkdir(parents=True, exist_ok=True)
    link = Link(clock, args.bandwidth * 1e9, args.network * 1e9)
    world = World(clock, link, Work(clock, link, job, each, args.actors_a_second), args.nodes, args.losses)
    began = time.process_time()
    release = Release(job, job.todo())
    queue: Queue[Any] = Queue(release.ready())
    plan, units = time.process_time() - began, len(queue)
    pool: Any = actor_pool.ActorPool(FakeRay(clock, world), job, _nothing, SimulatedCluster(world), NEED)
    drain, failed, end = threading.Event(), 0, args.virtual_hours * 3600
    for event in dispatch.Dispatch(pool, queue, drain, lambda line: None).run():
        counted = pool.ready if isinstance(pool.ready, int) else len(pool.ready)  # for the metrics, as `RayExecutor` does
        assert counted <= workers
        if isinstance(event, Finished):
            queue.add(release.closed(event.unit))
        elif event.ends:
            failed += 1
        if clock.monotonic() > end:
            print(f"NOT OVER after {args.virtual_hours} hours: {len(queue)} of {units} units wait")
            break
    seconds = clock.monotonic()
    pool.close()
    report(args, world, units, plan, seconds, failed)
    listed(store, units)


NEED = Need(1.0, 1.0, None, {})


def _nothing(*given: object) -> Any:
    """Return no work: the simulated workers need none."""


def report(args: argparse.Namespace, world: World, units: int, plan: float, seconds: float, failed: int) -> None:
    """Print what became of the workers' time, and what the store had to bear."""
    workers, link, work = args.nodes * GPUS, world.link, world.work
    total, spent = workers * seconds, dict(world.spent)
    useful = spent.pop("computing")
    spent["not there"] = total - useful - sum(spent.values())
    ready, ended = sorted(work.ready), sorted(work.ended)
    last = ended[-1] - ended[int(0.99 * len(ended))] if ended else 0.0
    lost = world.counts["losses"]
    half, every = ready[len(ready) // 2], ready[min(len(ready), workers) - 1]
    moved = ", ".join(f"{name} {link.bytes[name] / 1e9:,.0f} GB in {link.requests[name]:,} requests" for name in link.bytes)
    worst, *_ = most = sorted(spent, key=lambda name: -spent[name])
    wasted = ", ".join(f"{name} {spent[name] / 3600:.1f}" for name in most if spent[name] > 360)
    for line in (
        f"{workers:,} workers, {units:,} units, {args.bandwidth:g} GB/s: {seconds / 60:.1f} minutes, {useful / 3600:.0f} "
        f"GPU-hours of work, {100 * useful / total:.1f} % of those paid; {lost} nodes lost, {failed} attempts failed",
        f"  start: units listed in {plan:.1f} s; half of the workers ready after {half:.0f} s, all after {every:.0f} s; "
        f"the last 1 % of the units took {last:.0f} s",
        f"  GPU-hours wasted: {wasted}",
        f"  store: {moved}; {max(link.seconds.values()):,} requests in its busiest second; full for "
        f"{100 * link.full / seconds:.0f} % of the time",
    ):
        print(line)
    busy = world.clock.busy / seconds
    print(
        f"  driver busy {100 * busy:.0f} % of the time; bottleneck: {worst} ({spent[worst] / 3600:.1f} GPU-hours)", flush=True
    )


def listed(store: str, units: int) -> None:
    """Print how long a status of the finished store takes."""
    began = time.process_time()
    from pipeline.campaigns.job import opened

    left = len(opened(store).todo())
    middle = time.process_time()
    try:
        Reader(store).status()
    except Exception as error:  # its files of rows are empty
        print(f"  status: {error}")
    status = time.process_time() - middle
    print(f"  resume lists {units:,} units in {middle - began:.1f} s ({left} left), status reads in {status:.1f} s")


def run(args: argparse.Namespace) -> None:
    """Simulate another build, if asked for, and this one."""
    if args.before:
        with checkout(args.before) as before:
            for path in [*(ROOT / "benchmarks/simulated").glob("*.py"), Path(__file__)]:
                target = before / "benchmarks" / path.relative_to(ROOT / "benchmarks")
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(path.read_bytes())
            words = sys.argv[sys.argv.index("cluster") + 1 :]
            place = words.index("--before")
            code = "import argparse, sys\nfrom benchmarks import scale_cluster as s\np = argparse.ArgumentParser()\n"
            code += "s.add(p.add_subparsers())\na = p.parse_args(['cluster', *sys.argv[1:]])\na.run(a)"
            call = [sys.executable, "-c", code, *words[:place], *words[place + 2 :]]
            print(f"before ({args.before}):", flush=True)
            subprocess.run(call, cwd=before, env=os.environ | {"PYTHONPATH": str(before)}, check=True)
            print("now:")
    for nodes in args.each:
        args.nodes = nodes
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as store:
            played(args, store)


def add(commands: Any) -> None:
    """Add the subcommand `cluster`."""
    parser = commands.add_parser("cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="a commit")
    parser.add_argument(
        "--nodes", type=int, nargs="+", default=[200], dest="each", help="of 8 GPUs; several are played in turn"
    )
    parser.add_argument("--hours", type=float, default=475.0, help="GPU-hours of the campaign")
    parser.add_argument("--bandwidth", type=float, default=20.0, help="GB a second of the store, for all together")
    parser.add_argument("--network", type=float, default=1.0, help="GB a second of one worker")
    parser.add_argument("--losses", type=float, default=0.05, help="of a node, an hour")
    parser.add_argument("--actors-a-second", type=float, default=100.0, help="that the cluster's scheduler starts")
    parser.add_argument("--virtual-hours", type=float, default=6.0, help="after which it is given up")
    parser.set_defaults(run=run)
