"""Measure how many units a second real Ray actors finish, and how the driver's memory grows. The units do nothing.

A smaller run comes first, with a tenth of the units.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.demo import memory
from pipeline.campaigns.attempt.events import Finished
from pipeline.config.fields import Share
from pipeline.execution import RayExecutor
from pipeline.execution.queue import Queue
from pipeline.planning.units import Unit


@dataclass(frozen=True)
class Nothing:
    """Hold a job of units that do nothing."""

    name: str
    workers: Share
    counters: Mapping[str, str] = field(default_factory=dict)


def nothing(job: Nothing, device: torch.device, drain: threading.Event) -> Any:
    """Return the work of an actor: it finishes each unit at once."""

    def work(unit: Unit) -> Iterator[Finished]:
        yield Finished(unit, 0, 1, 0.0)

    return work


def measured(units: int, workers: int) -> tuple[float, list[float]]:
    """Return the units a second from the first event to the last, and the driver's memory in MB at ten moments of the run."""
    job, found, began, seen = Nothing("scale", Share(count=workers)), list[float](), 0.0, 0
    queue = Queue(Unit(f"cell-{i % 20}", f"shard-{i // 640:06d}", i % 640, i % 640 + 1) for i in range(units))
    executor = RayExecutor(job, nothing)
    for event in executor.execute(job, queue, threading.Event()):
        assert isinstance(event, Finished), event
        began = began or time.perf_counter()
        seen += 1
        if seen % max(1, units // 10) == 0:
            found.append(1000 * memory({os.getpid()}))
    seconds = time.perf_counter() - began
    executor.close()
    assert seen == units, f"{seen} of {units} units were done"
    return units / seconds, found


def run(args: argparse.Namespace) -> None:
    for units in (args.units // 10, args.units):
        rate, found = measured(units, args.workers)
        middle = found[len(found) // 2]
        print(
            f"{units:,} units through {args.workers} actors: {rate:,.0f} units/s (at least 500 wanted); driver, MB: "
            f"{found[0]:.0f} at a tenth, {middle:.0f} in the middle, {found[-1]:.0f} at the end",
            flush=True,
        )


def add(commands: Any) -> None:
    """Add the subcommand `actors`."""
    parser = commands.add_parser("actors", description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.set_defaults(run=run)
