"""What `barrage plan` says: every cell with its cost, from rates as good as can be had, and where each rate comes from."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor

from pipeline import provenance
from pipeline.campaigns.job import Job, resolve
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import Campaign, Cell, Data
from pipeline.costs import cell_cost
from pipeline.costs.cell_cost import Bill, Estimate, Rated
from pipeline.data import shards
from pipeline.parallel import map_ordered
from pipeline.planning import throughput
from pipeline.planning.throughput import Speed
from pipeline.planning.time_left import clock
from pipeline.status.columns import Column, table

SAMPLE = 4
"""Images that are measured on."""

FEW = 4
"""Cells that are named one by one."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Asked:
    """What the user said of the machines: a part of a GPU's name (None: the device at hand), how many, the price of an hour of
    one, a rate to assume where none is known, and whether this device may be measured; and of the data: how many images there
    are (None: as many as the shards hold)."""

    gpu: str | None = None
    count: int = 1
    price: float | None = None
    rate: float | None = None
    measure: bool = True
    images: int | None = None


@dataclass(frozen=True)
class Quote:
    """The cells of a campaign with their estimates, the device they are for, and the bill."""

    device: str
    asked: Asked
    cells: dict[str, Estimate]
    bill: Bill

    @property
    def rows(self) -> int:
        return sum(cell.planned.images for cell in self.cells.values())

    @property
    def draw_gradients(self) -> int:
        """At most: images may leave earlier."""
        return sum(cell.planned.images * cell.planned.draw_gradients for cell in self.cells.values())

    @property
    def unknown(self) -> list[str]:
        return [name for name, cell in self.cells.items() if cell.seconds is None]


def quote(campaign: Campaign, asked: Asked, report: Callable[[str], None] = lambda line: None) -> Quote:
    """Plans a campaign and prices it. Touches no store. Raises BadInput."""
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = provenance.device_name(here)
    measured = asked.measure and (asked.gpu is None or asked.gpu.lower() in device.lower())
    job = Job(resolve(campaign) if measured else campaign, _shards(campaign.data, asked.images), "")
    sample = _sample(job) if asked.images is None else torch.zeros(0, 3, campaign.data.crop, campaign.data.crop)
    rates: dict[str, Rated] = {}
    if measured:
        rates = _measured(job, here, sample, report)
    for name, cell in job.cells.items():
        rates[name] = rates.get(name) or (cell_cost.known(asked.gpu, cell) if asked.gpu else None) or _assumed(asked.rate)
    planned = job.with_cuts({name: rated.speed.attack for name, rated in rates.items() if rated.speed}).planned()
    cells = {
        name: cell_cost.estimate(cell, planned[name], rates[name], sample, campaign.save_adversarial)
        for name, cell in job.cells.items()
    }
    bill = cell_cost.bill(list(cells.values()), asked.count, asked.price)
    return Quote(device if measured or not asked.gpu else asked.gpu, asked, cells, bill)


def _shards(data: Data, images: int | None) -> dict[str, shards.Shard]:
    if images is not None:
        return shards.imagined(data, images)
    return {shard.name: shard for shard in map_ordered(shards.inspect, shards.paths(data))}


def _measured(job: Job, device: torch.device, sample: Tensor, report: Callable[[str], None]) -> dict[str, Rated]:
    """The rate of every cell on this device, measured once for those that are alike."""
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(job.workers.cpus)))  # as a worker has them
    worker, images = Worker(job, device, threading.Event()), sample if len(sample) else None
    found: dict[str, Rated] = {}
    for name, cell in job.cells.items():
        if throughput.alike(cell) not in found:
            report(f"measuring {name} on this machine, a few seconds")
            found[throughput.alike(cell)] = Rated(_speed_of(worker, cell, images), "measured on this machine")
    return {name: found[throughput.alike(cell)] for name, cell in job.cells.items()}


def _speed_of(worker: Worker, cell: Cell, images: Tensor | None) -> Speed:
    defended = worker.defended(cell)
    images = images if images is not None and images.shape[-1] == cell.crop else None  # a model may want images of its own size
    return worker.fitting(cell, lambda stack: throughput.speed(defended, cell, stack, worker.device, images))


def _assumed(rate: float | None) -> Rated:
    return Rated(Speed(rate, rate), "assumed by --rate") if rate else Rated(None, UNKNOWN)


def _sample(job: Job) -> Tensor:
    """The first images that can be read, (n, 3, crop, crop) in [0, 1]; maybe none."""
    first, data = next(iter(job.shards.values())), job.campaign.data
    found: list[Tensor] = []
    for sample in shards.read(first, range(min(first.images, 4 * SAMPLE))):
        try:
            if sample.status == "ok" and len(found) < SAMPLE:
                found.append(torch.from_numpy(shards.decode(sample.image, data.resize, data.crop)))
        except ValueError:
            continue
    return torch.stack(found).float() / 255 if found else torch.zeros(0, 3, data.crop, data.crop)


def show(quote: Quote, console: Console) -> None:
    """The cells as a table, and the bill under it."""
    cells = quote.cells.values()
    planned = [cell.planned for cell in cells]
    columns = [
        Column("units", 3, [f"{of.units:,}" for of in planned]),
        Column("images", 1, [f"{of.images:,}" for of in planned]),
        Column("draw-\ngradients", 2, [f"{of.images * of.draw_gradients:,}" for of in planned]),
        Column("forward\ndraws", 5, [f"{of.images * of.forwards:,}" for of in planned]),
        Column("draw-gradients\na second", 4, [_speed(cell.rated) for cell in cells]),
        Column("device-\nhours", 0, [_hours(cell.device_hours) for cell in cells]),
    ]
    console.print(table(list(quote.cells), columns, console.width))
    for line in lines(quote):
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _speed(rated: Rated) -> str:
    if rated.speed is None:
        return "?"
    error = rated.speed.error * rated.speed.attack
    return f"{rated.speed.attack:,.1f}" + (f" ± {error:.1f}" if error >= 0.05 else "")


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    return (
        "< 0.001"
        if 0 < hours < 0.001
        else f"{hours:,.3f}"
        if hours < 10
        else f"{hours:,.1f}"
        if hours < 1000
        else f"{hours:,.0f}"
    )


def lines(quote: Quote) -> Iterator[str]:
    """The bill in words."""
    cells, bill, asked = quote.cells.values(), quote.bill, quote.asked
    units, forwards = sum(c.planned.units for c in cells), sum(c.planned.forwards * c.planned.images for c in cells)
    work = f"at most {quote.draw_gradients:,} draw-gradients and {forwards:,} forward draws"
    yield f"work: {units:,} units, {quote.rows:,} rows, {work}"
    yield f"store: about {size(bill.row_bytes)} of rows and {size(bill.example_bytes)} of adversarial examples"
    if bill.hours is not None and bill.device_hours is not None:
        money = "" if bill.price is None else f", {bill.price:,.2f} USD at {asked.price:g} USD an hour"
        wall = f"{clock(3600 * bill.hours)} of the clock on {asked.count:,}"
        yield f"cost: {_hours(bill.device_hours)} device-hours of {quote.device}{money}; {wall}"
    else:
        names = "all cells" if len(quote.unknown) == len(cells) else _some(quote.unknown)
        yield f"cost: unknown on {quote.device}, for {names}" if asked.gpu else "cost: not measured, as --no-calibrate asks"
        yield (
            f"rates are known of {', '.join(cell_cost.gpus())} for torchvision:resnet50; for others, plan on such a machine, or "
            "assume draw-gradients a second with --rate"
        )
    for source in dict.fromkeys(cell.rated.source for cell in cells if cell.rated.speed):
        of = [name for name, cell in quote.cells.items() if cell.rated.source == source]
        yield f"rates of {'all cells' if len(of) == len(quote.cells) else _some(of)}: {source}"


def _some(names: Sequence[str]) -> str:
    """A few of many names."""
    return ", ".join(names) if len(names) <= FEW else f"{', '.join(names[:FEW])} and {len(names) - FEW} more"


def size(count: float) -> str:
    """Bytes for a person: 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("TB is the last")
