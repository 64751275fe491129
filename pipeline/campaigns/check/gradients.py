"""Check the gradients of a cell's attack: what hides them, how far single draws agree, and whether any is broken."""

import threading
from collections import Counter
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bart import LOSSES, Defended, Goal, Mirror
from bart.bpda import POLICIES
from bart.diagnostics.blindness import CAUSES, causes
from bart.diagnostics.gradient_report import gradient_report
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt import image_rows
from pipeline.campaigns.check.findings import Finding
from pipeline.campaigns.job import Job
from pipeline.campaigns.worker import Worker
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.data import shards
from pipeline.errors import BadInput

VANISHED = 0.1
"""Share of draws whose gradient may be zero, and of black and white pixels that may have none, beyond that of others."""

WHY = "draws must agree on something, none may vanish or be broken, and black and white pixels must be able to move"


class Sample(NamedTuple):
    """Hold a cell's defended model with images (n, 3, h, w) in [0, 1], their labels (n,) and random keys, on a device."""

    defended: Defended
    x: Tensor
    label: Tensor
    keys: Mirror
    stack: int


def sample(job: Job, cell: Cell, device: torch.device) -> Sample:
    """Return the images of a job's first unit, with the model of the cell. Raises BadInput if none can be attacked."""
    worker = Worker(job, device, threading.Event())
    unit = next(iter(job.units()))
    found = (image_rows.decoded(s, cell) for s in shards.read(job.shards[unit.shard], job.places(unit)))
    good = [(sample, image) for sample, image in found if image is not None]
    if not good:
        raise BadInput(f"no image of {unit.name} can be attacked: check the data with `barrage run`, or take other images")
    x = torch.stack([torch.from_numpy(image) for _, image in good]).to(device).float() / 255
    label = torch.tensor([sample.label for sample, _ in good], device=device, dtype=torch.int64)
    keys = image_keys.to_attack(cell, [(unit.shard, sample.key) for sample, _ in good], device)
    return Sample(worker.defended(cell), x, label, keys, worker.stack(cell))


def gradients(cell: Cell, found: Sample, draws: int = 20) -> Finding:
    """Return the gradient report of the cell on a sample, with `draws` draws of each image."""
    goal = Goal(found.label, torch.full_like(found.label, -1))
    assert isinstance(cell.attack, ByGradient)
    report = gradient_report(found.defended, found.x, goal, found.keys, draws, cell.attack.eot(1), found.stack)
    norm, spread, cosine, agreement = (float(column.median()) for column in report[:4])
    zero, stuck = float(report.zero.mean()), float(report.stuck.mean())
    figures = (
        f"norm {norm:.3g}, largest/median {spread:.1f}, cosine of two draws {cosine:.3f}, "
        f"signs that agree {100 * agreement:.0f} %, "
        f"zero {100 * zero:.0f} %, not finite {100 * float(report.nonfinite.mean()):.0f} %, "
        f"black and white pixels that can't move {100 * stuck:.0f} %"
    )
    sound = max(zero, stuck) < VANISHED and float(report.nonfinite.sum()) == 0 and cosine > 0
    return Finding("gradients", sound, figures, WHY)


def hidden(cell: Cell, found: Sample) -> Finding:
    """Return of how many images of a sample something hides the gradient, and what: a name of `CAUSES`.

    Each image meets one draw of the defense, the same in every pass.
    """
    attack = cell.attack
    assert isinstance(attack, ByGradient)
    policy, loss = partial(POLICIES[attack.policy], networks=found.defended.networks), LOSSES[attack.loss]
    counts = Counter[str]()
    for i in range(len(found.x)):

        def network(x: Tensor, i: int = i) -> Tensor:
            keys = found.keys.map(lambda side: side[i : i + 1].expand(len(x)))
            return found.defended.logits(x, keys, policy)

        counts += Counter(causes(network, found.x[i : i + 1], found.label[i : i + 1], loss))
    seen, why = counts.pop("", 0), [f"{cause}: {CAUSES[cause]}" for cause in CAUSES if counts[cause]]
    shares = [f"{100 * seen / len(found.x):.0f} % of images have a gradient"]
    shares += [f"{cause} {100 * counts[cause] / len(found.x):.0f} %" for cause in CAUSES if counts[cause]]
    return Finding("model", not why, ", ".join(shares), "; ".join(why) or "nothing in the model may hide the gradient")
