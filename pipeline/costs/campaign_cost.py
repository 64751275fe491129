"""Quote a campaign: every cell with its cost, from the best rate that is available, and where each rate comes from."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline import provenance
from pipeline.campaigns.job import Job
from pipeline.campaigns.prepare import check_labels, check_models, resolve
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import Campaign, Cell, Data
from pipeline.costs import cell_cost
from pipeline.costs.cell_cost import Bill, Estimate, Rated
from pipeline.data import guarded, shards
from pipeline.data.pack.classes import given
from pipeline.execution.worker import device_of
from pipeline.models import architectures, bpda_networks
from pipeline.parallel import map_ordered
from pipeline.planning import throughput
from pipeline.planning.throughput import Speed

SAMPLE = 4
"""Images that are used for measuring."""


@dataclass(frozen=True)
class Asked:
    """Hold what the user said of the machines and the data."""

    gpu: str | None = None
    """A part of a GPU's name; None: the device of this machine."""
    count: int = 1
    """Devices that work at the same time."""
    price: float | None = None
    """USD for an hour of one device."""
    rate: float | None = None
    """Draw-gradients a second to assume where no rate is known."""
    measure: bool = True
    """Whether this machine may be measured."""
    images: int | None = None
    """Images to plan for without opening the shards; None: as many as the shards hold."""


@dataclass(frozen=True)
class Quote:
    """Hold the estimates of a campaign's cells by name, the device they are for, and the bill."""

    device: str
    asked: Asked
    cells: dict[str, Estimate]
    bill: Bill

    @property
    def rows(self) -> int:
        """Return how many rows the campaign makes."""
        return sum(cell.planned.images for cell in self.cells.values())

    @property
    def draw_gradients(self) -> int:
        """Return the draw-gradients of all cells, at most: with first_break, images may leave earlier."""
        return sum(cell.planned.images * cell.planned.draw_gradients for cell in self.cells.values())

    @property
    def unknown(self) -> list[str]:
        """Return the names of the cells whose cost is unknown."""
        return [name for name, cell in self.cells.items() if cell.seconds is None]


def quote(campaign: Campaign, asked: Asked, report: Callable[[str], None] = lambda line: None) -> Quote:
    """Plan a campaign and price it. Writes nothing. Raises BadInput.

    `report` shows one line to a person; default: nothing is shown.
    """
    here = device_of(campaign.workers.gpus)
    device = provenance.device_name(here)
    measured = asked.measure and (asked.gpu is None or asked.gpu.lower() in device.lower())
    elsewhere = asked.images is not None and not measured  # the weights are where the images are, as a plan may say
    job = Job(campaign if elsewhere else resolve(campaign), _shards(campaign.data, asked.images), "")
    _refuse_what_run_refuses(job, measured, asked.images is None)
    sample = _sample(job) if asked.images is None else _no_images(campaign.data.crop)
    rates = _measured(job, here, sample, report) if measured else {}
    for name, cell in job.cells.items():
        known = cell_cost.known(asked.gpu, cell) if asked.gpu else None
        rates[name] = rates.get(name) or known or cell_cost.assumed(asked.rate)
    planned = job.with_cuts({name: rated.speed.attack for name, rated in rates.items() if rated.speed}).planned()
    cells = {
        name: cell_cost.estimate(cell, planned[name], rates[name], sample, campaign.save_adversarial)
        for name, cell in job.cells.items()
    }
    bill = cell_cost.bill(list(cells.values()), asked.count, asked.price)
    return Quote(device if measured or not asked.gpu else asked.gpu, asked, cells, bill)


def _refuse_what_run_refuses(job: Job, loading: bool, images: bool) -> None:
    """Raise BadInput if a run would end before its first unit. Without `loading`, no weights are loaded, as those of a library
    would be fetched; without `images`, models are tried on synthetic ones.
    """
    check_labels(job.campaign, job.shards.values())
    if loading:
        check_models(job.campaign, new=list(job.shards.values()) if images else ())
        return
    for model in job.campaign.models.values():
        architectures.network(model.architecture, model.classes)
    for cell in job.cells.values():
        bpda_networks.fit(cell)


def _shards(data: Data, images: int | None) -> dict[str, shards.Shard]:
    if images is not None:
        return shards.imagined(data, images)
    inspect = partial(shards.inspect, classes=given(data.classes))
    return {shard.name: shard for shard in map_ordered(inspect, shards.paths(data))}


def _measured(job: Job, device: torch.device, sample: Tensor, report: Callable[[str], None]) -> dict[str, Rated]:
    """Return the rate of every cell on this device; cells that are alike are measured once."""
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(job.workers.cpus)))  # as a worker has them
    worker, images = Worker(job, device, threading.Event()), sample if len(sample) else None
    rates: dict[str, Rated] = {}
    for name, cell in job.cells.items():
        if throughput.alike(cell) not in rates:
            report(f"measuring {name} on this machine, a few seconds")
            rates[throughput.alike(cell)] = Rated(_speed(worker, cell, images), "measured on this machine")
    return {name: rates[throughput.alike(cell)] for name, cell in job.cells.items()}


def _speed(worker: Worker, cell: Cell, images: Tensor | None) -> Speed:
    defended = worker.defended(cell)
    images = images if images is not None and images.shape[-1] == cell.crop else None  # a model may want another size
    return worker.fitting(cell, lambda stack: throughput.speed(defended, cell, stack, worker.device, images))


def _sample(job: Job) -> Tensor:
    """Return the first images that can be read, (n, 3, crop, crop) in [0, 1]; n may be 0."""
    first, data = next(iter(job.shards.values())), job.campaign.data
    images: list[Tensor] = []
    for sample in shards.read(first, range(min(first.images, 4 * SAMPLE))):
        try:
            if sample.status == "ok" and len(images) < SAMPLE:
                images.append(torch.from_numpy(guarded.decode(sample.image, data.resize, data.crop, exif=data.exif)))
        except ValueError:
            continue
    return torch.stack(images).float() / 255 if images else _no_images(data.crop)


def _no_images(side: int) -> Tensor:
    return torch.zeros(0, 3, side, side, dtype=torch.float32, device="cpu")
