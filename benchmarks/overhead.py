"""Measure what Ray, checkpoints and Parquet cost beside the attack: python -m benchmarks.overhead

The same images, cell, threads and seeds go through a plain loop over `bart` and through one Ray actor with a store, in turns.
Both clocks start when the model is loaded and the first step begins; start-up is shown apart.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from bart import Ball, Goal, judge
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.job import Job
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker, attacking
from pipeline.config.campaign import Campaign, parse
from pipeline.data import shards
from pipeline.data.pack import labelled, pack, photographs
from pipeline.execution import RayExecutor
from pipeline.models import loading


def campaign(shard: str, args: argparse.Namespace) -> Campaign:
    content = {
        "name": "overhead",
        "data": {"shards": shard, "limit": args.images},
        "models": {"lite0": {"architecture": "efficientnet_lite0", "mean": [127 / 255] * 3, "std": [128 / 255] * 3}},
        "defenses": {"bart": {"k": args.k}},
        "attacks": {"pgd": {"eps": "8/255", "steps": args.steps, "eot_draws": 2}},
        "cells": [{"model": "lite0", "defense": "bart", "attack": "pgd"}],
        "evaluation_draws": 10,
        "unit_images": args.images // 2,
        "workers": {"count": 1, "cpus": args.threads, "stack": 8, "checkpoint_seconds": args.checkpoint_seconds},
    }
    return parse(content, "benchmark")


def plain(job: Job) -> float:
    """Return the seconds of the attack and the verdict in a loop that writes nothing."""
    (cell,) = job.cells.values()
    (shard,) = job.shards.values()
    device = torch.device("cpu")
    defended = Worker(job, device, threading.Event()).defended(cell)
    began = time.perf_counter()
    for unit in job.units():
        samples = shards.read(shard, job.places(unit))
        pixels = [shards.decode(s.image, cell.resize, cell.crop, cell.framing) for s in samples]
        clean = torch.from_numpy(np.stack(pixels)).float() / 255
        label, names = torch.tensor([s.label for s in samples]), [(unit.shard, s.key) for s in samples]
        attack = cell.built
        state = attack.start(clean, Goal(label, torch.full_like(label, -1)), image_keys.to_attack(cell, names))
        for _ in range(attack.steps):
            state = attack.step(state, defended, 8)
        for images in (clean.mul(255).round().to(torch.uint8), Ball("linf", cell.attack.eps).store(state.x, clean)):
            judge(defended, images, image_keys.to_judge(cell, names), cell.judged_by, 8)
    return time.perf_counter() - began


def campaigned(job: Job) -> tuple[float, float]:
    """Return the seconds from the first step to the last commit through Ray and a store, and the seconds of start-up."""
    began = time.perf_counter()
    executor = RayExecutor(job, attacking)
    job.write_down()
    first = last = 0.0
    for event in executor.execute(job, job.todo(), threading.Event()):
        assert isinstance(event, Progress | Finished), event
        first, last = first or time.perf_counter(), time.perf_counter()
    executor.close()
    return last - first, first - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint-seconds", type=float, default=10, help="a campaign's default is 120")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        (shard,) = pack(labelled(photographs(), "name", "imagenet_*").images, Path(folder))
        found = campaign(shard, args)
        loading.classifier(found.models["lite0"], found.data.crop, torch.device("cpu"))  # warm the file cache
        ratios = []
        for i in range(args.rounds):
            loop = plain(prepare(found, f"{folder}/unused"))
            ray, start = campaigned(prepare(found, f"{folder}/store{i}"))
            ratios.append(ray / loop)
            print(f"round {i}: plain loop {loop:.1f} s, campaign {ray:.1f} s, ratio {ray / loop:.3f}, start-up {start:.1f} s")
    print(
        f"median ratio {statistics.median(ratios):.3f}, a checkpoint every {args.checkpoint_seconds:g} s; at most 1.05 wanted"
    )


if __name__ == "__main__":
    main()
