"""What a campaign will cost before anything is spent: time, money and room, from rates that were measured.

A rate is measured on the device at hand (`pipeline.planning.throughput`), known from an earlier measurement of the GPU that is asked for
(rates.yaml), or assumed by who asks. Where there is none of these, the cost is unknown, and nothing is scaled from other GPUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from bart import BART_25, rng
from pipeline.campaigns import image_rows
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.data.shards import Sample
from pipeline.planning.throughput import Speed, work
from pipeline.planning.time_left import HOUR
from pipeline.store import schema
from pipeline.store.planned_cells import Planned


@dataclass(frozen=True)
class Rated:
    """A cell's speed and where it comes from; no speed where it is unknown."""

    speed: Speed | None
    source: str


@dataclass(frozen=True)
class Estimate:
    """A cell: what is planned, and what one image of it takes: device-seconds (None if unknown), bytes of rows and example."""

    planned: Planned
    rated: Rated
    seconds: float | None
    row_bytes: float
    example_bytes: float

    @property
    def device_hours(self) -> float | None:
        return None if self.seconds is None else self.seconds * self.planned.images / HOUR

    @property
    def unit_seconds(self) -> float:
        """Of a unit of the usual size; 0 if unknown."""
        return (self.seconds or 0.0) * self.planned.images / max(1, self.planned.units)


@dataclass(frozen=True)
class Bill:
    """All cells together, on so many devices: device-hours, hours of the clock, and money; None where a rate is unknown."""

    device_hours: float | None
    hours: float | None
    price: float | None
    row_bytes: float
    example_bytes: float


def estimate(cell: Cell, planned: Planned, rated: Rated, sample: Tensor, examples: bool) -> Estimate:
    """`sample` are images of the data, (n, 3, crop, crop) in [0, 1]; `examples` whether adversarial ones are kept."""
    seconds = None
    if rated.speed:
        seconds = work(cell) / rated.speed.attack + 2 * cell.judged_by / rated.speed.verdict
    unit = max(1, round(planned.images / max(1, planned.units)))
    return Estimate(planned, rated, seconds, row_bytes(cell, unit), example_bytes(cell, sample) if examples else 0.0)


def bill(cells: Sequence[Estimate], devices: int, price: float | None) -> Bill:
    """The clock waits for the longest unit at least. `price` of one device-hour."""
    found = [cell.device_hours for cell in cells if cell.device_hours is not None]
    total = sum(found) if len(found) == len(cells) else None
    longest = max((cell.unit_seconds for cell in cells), default=0.0) / HOUR
    return Bill(
        device_hours=total,
        hours=None if total is None else max(total / devices, longest),
        price=None if total is None or price is None else total * price,
        row_bytes=sum(cell.row_bytes * cell.planned.images for cell in cells),
        example_bytes=sum(cell.example_bytes * cell.planned.images for cell in cells),
    )


def known(gpu: str, cell: Cell) -> Rated | None:
    """The rate of a GPU by a part of its name, where it was measured for such a cell; between two k, a draw's time is
    interpolated. The verdict was not measured: its draws are counted as draw-gradients, the most they can take."""
    attack, defense = cell.attack, cell.defense
    plain = isinstance(attack, ByGradient) and attack.policy == "combo" and not attack.transfer and not cell.cost.forwards
    if not plain or (defense.k and set(defense.transforms) != set(BART_25)):
        return None
    for entry in _table():
        of = (entry["architecture"], entry["crop"])
        if gpu.lower() in entry["gpu"].lower() and of == (cell.model.architecture, cell.crop):
            rate, exact = _between(entry["draw_gradients"], defense.k)
            if rate is not None:
                how = "" if exact else ", interpolated in k"
                return Rated(Speed(rate, rate), f"{entry['gpu']}, {entry['source']}{how}")
    return None


def gpus() -> list[str]:
    """The GPUs of which rates are known."""
    return sorted({entry["gpu"] for entry in _table()})


def _table() -> list[dict[str, Any]]:
    return yaml.safe_load((files("pipeline.costs") / "rates.yaml").read_text())


def _between(rates: dict[int, float], k: int) -> tuple[float | None, bool]:
    """The rate at k, and whether it was measured there."""
    if k in rates:
        return rates[k], True
    for low, high in pairwise(sorted(rates)):
        if low < k < high:
            share = (k - low) / (high - low)
            return 1 / ((1 - share) / rates[low] + share / rates[high]), False
    return None, False


def row_bytes(cell: Cell, images: int) -> float:
    """Of one image, in a file of so many: real rows with verdicts that are all noise, so at most about this."""
    random = np.random.default_rng(0)
    top5 = random.integers(0, cell.model.classes, (images, 2, cell.judged_by + 1, 5)).tolist()
    found = [
        {"image_key": f"{cell.name}-{i:08d}", "shard": cell.name, "cell": cell.name, "status": "ok", "label": i,
         "clean_top5": clean[1:], "adv_top5": attacked[1:], "clean_mean_top5": clean[0], "adv_mean_top5": attacked[0],
         "linf": random.random(), "l2": random.random(), "campaign": cell.identity}
        for i, (clean, attacked) in enumerate(top5)
    ]  # fmt: skip
    return len(schema.encode(found, {"cell": cell.model_dump(mode="json")})) / images


def example_bytes(cell: Cell, sample: Tensor) -> float:
    """Of one stored example: images of the sample at random points of the cell's ball, in the files of a store."""
    if not len(sample):
        return float(3 * cell.crop**2)
    ball = cell.attack.ball
    stored = ball.store(ball.start(sample, torch.arange(len(sample)) + rng.key("bytes")), sample)
    return len(image_rows.examples([Sample(str(i)) for i in range(len(sample))], stored)) / len(sample)
