"""Check the gradients of a cell's attack: how far single draws agree, and whether any is broken."""

import threading

import torch

from bart import Goal
from bart.diagnostics.gradient_report import gradient_report
from pipeline.campaigns.check.findings import Finding
from pipeline.campaigns.job import Job
from pipeline.campaigns.worker import Worker, image_keys
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.data import shards

VANISHED = 0.1
"""Share of draws whose gradient may be zero."""


def gradients(job: Job, cell: Cell, device: torch.device, draws: int = 20) -> Finding:
    """Return the gradient report of the cell on the images of a job's first unit, with `draws` draws of each image."""
    worker = Worker(job, device, threading.Event())
    unit = next(iter(job.units()))
    samples = [s for s in shards.read(job.shards[unit.shard], job.places(unit)) if s.status == "ok"]
    images = [torch.from_numpy(shards.decode(s.image, cell.resize, cell.crop, cell.framing)) for s in samples]
    x = torch.stack(images).to(device).float() / 255
    label = torch.tensor([s.label for s in samples], device=device)
    goal, keys = Goal(label, torch.full_like(label, -1)), image_keys(cell, [s.key for s in samples], device)
    assert isinstance(cell.attack, ByGradient)
    report = gradient_report(worker.defended(cell), x, goal, keys, draws, cell.attack.eot(1), worker.stack(cell))
    norm, spread, cosine, agreement = (float(column.median()) for column in report[:4])
    zero = float(report.zero.mean())
    figures = (
        f"norm {norm:.3g}, largest/median {spread:.1f}, cosine of two draws {cosine:.3f}, "
        f"signs that agree {100 * agreement:.0f} %, "
        f"zero {100 * zero:.0f} %, not finite {100 * float(report.nonfinite.mean()):.0f} %"
    )
    sound = zero < VANISHED and float(report.nonfinite.sum()) == 0 and cosine > 0
    return Finding("gradients", sound, figures, "draws must agree on something, and none may vanish or be broken")
