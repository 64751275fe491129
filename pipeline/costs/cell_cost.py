"""Estimate what a cell will cost before anything is spent: time, money and bytes, from a rate.

A rate is measured on this machine (`pipeline.planning.throughput`), known from an earlier measurement of the GPU in question
(rates.yaml), or assumed by the user. Without any of these the cost is unknown: nothing is scaled from other GPUs. What follows
from a rate is computed by `pipeline.planning.cost`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import rng
from pipeline.campaigns.attempt import image_rows
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.config.yaml_loader import plain
from pipeline.data.shards import Sample
from pipeline.planning import cost
from pipeline.planning.throughput import Speed
from pipeline.planning.time_left import HOUR
from pipeline.store import schema
from pipeline.store.planned_cells import Planned

UNKNOWN = "unknown"
"""The source of a rate that is not known."""


@dataclass(frozen=True)
class Rated:
    """Hold a cell's speed, None if unknown, and where it comes from."""

    speed: Speed | None
    source: str


@dataclass(frozen=True)
class Estimate:
    """Hold what is planned of a cell, and what one image of it takes."""

    planned: Planned
    rated: Rated
    seconds: float | None
    """Device-seconds of an image; None if unknown."""
    row_bytes: float
    example_bytes: float

    @property
    def device_hours(self) -> float | None:
        """Return the device-hours of all images; None if unknown."""
        return None if self.seconds is None else self.seconds * self.planned.images / HOUR

    @property
    def unit_seconds(self) -> float:
        """Return the device-seconds of a unit of mean size; 0 if unknown."""
        return (self.seconds or 0.0) * self.planned.images / max(1, self.planned.units)


@dataclass(frozen=True)
class Bill:
    """Hold the cost of all cells together: device-hours, wall-clock hours, and money. None where a rate is unknown."""

    device_hours: float | None
    hours: float | None
    price: float | None
    row_bytes: float
    example_bytes: float


def estimate(cell: Cell, planned: Planned, rated: Rated, sample: Tensor, examples: bool) -> Estimate:
    """Return the estimate of a cell.

    `sample` are images of the data, (n, 3, crop, crop) in [0, 1]; `examples` says whether adversarial examples are kept.
    """
    seconds = None
    if rated.speed:
        seconds = cost.of_attack(cell) / rated.speed.attack + 2 * cell.judged_by / rated.speed.verdict
    unit = max(1, round(planned.images / max(1, planned.units)))
    return Estimate(planned, rated, seconds, row_bytes(cell, unit), example_bytes(cell, sample) if examples else 0.0)


def bill(cells: Sequence[Estimate], devices: int, price: float | None) -> Bill:
    """Return the bill of all cells on `devices` devices; `price` of one device-hour.

    A campaign takes at least as long as its longest unit.
    """
    hours = [cell.device_hours for cell in cells if cell.device_hours is not None]
    total = sum(hours) if len(hours) == len(cells) else None
    longest = max((cell.unit_seconds for cell in cells), default=0.0) / HOUR
    return Bill(
        device_hours=total,
        hours=None if total is None else max(total / devices, longest),
        price=None if total is None or price is None else total * price,
        row_bytes=sum(cell.row_bytes * cell.planned.images for cell in cells),
        example_bytes=sum(cell.example_bytes * cell.planned.images for cell in cells),
    )


def known(gpu: str, cell: Cell) -> Rated | None:
    """Return the rate of a GPU, which `gpu` names in part, if it was measured for such a cell; else None.

    Between two measured k, the time of a draw is interpolated. The verdict follows from the rate by the cost model.
    """
    attack, defense = cell.attack, cell.defense
    plain = isinstance(attack, ByGradient) and attack.policy == "combo" and not attack.transfer and not cell.cost.forwards
    if not plain or defense.measured_as is None:
        return None
    for entry in _table():
        of = (entry["architecture"], entry["crop"])
        if gpu.lower() in entry["gpu"].lower() and of == (cell.model.architecture, cell.crop):
            rate, exact = _between(entry["draw_gradients"], defense.measured_as)
            if rate is not None:
                how = "" if exact else ", interpolated in k"
                return Rated(_by_model(rate), f"{entry['gpu']}, {entry['source']}{how}")
    return None


def assumed(rate: float | None) -> Rated:
    """Return the rate that the user assumes, in draw-gradients a second; unknown if there is none."""
    return Rated(_by_model(rate), "assumed by --rate") if rate else Rated(None, UNKNOWN)


def _by_model(rate: float) -> Speed:
    return Speed(rate, cost.forward_rate(rate))


def gpus() -> list[str]:
    """Return the GPUs with known rates."""
    return sorted({entry["gpu"] for entry in _table()})


def _table() -> list[dict[str, Any]]:
    return plain((files("pipeline.costs") / "rates.yaml").read_text())


def _between(rates: dict[int, float], k: int) -> tuple[float | None, bool]:
    """Return the rate at k, None outside the measured range, and whether it was measured at this k."""
    if k in rates:
        return rates[k], True
    for low, high in pairwise(sorted(rates)):
        if low < k < high:
            share = (k - low) / (high - low)
            return 1 / ((1 - share) / rates[low] + share / rates[high]), False
    return None, False


def row_bytes(cell: Cell, images: int) -> float:
    """Return the bytes of one image's row in a file of `images` rows.

    Real rows are written with random verdicts, which don't compress, so a store takes about this or less.
    """
    random = np.random.default_rng(0)
    top5 = random.integers(0, cell.model.classes, (images, 2, cell.judged_by + 1, 5)).tolist()
    rows = [
        {"image_key": f"{cell.name}-{i:08d}", "shard": cell.name, "cell": cell.name, "status": "ok", "label": i,
         "clean_top5": clean[1:], "adv_top5": attacked[1:], "clean_mean_top5": clean[0], "adv_mean_top5": attacked[0],
         "linf": random.random(), "l2": random.random(), "campaign": cell.identity}
        for i, (clean, attacked) in enumerate(top5)
    ]  # fmt: skip
    return len(schema.encode(rows, {"cell": cell.model_dump(mode="json")})) / images


def example_bytes(cell: Cell, sample: Tensor) -> float:
    """Return the bytes of one stored example: sample images, moved to random points of the cell's ball, in a store's file."""
    if not len(sample):
        return float(3 * cell.crop**2)
    ball = cell.attack.ball
    stored = ball.store(ball.start(sample, torch.arange(len(sample), device="cpu") + rng.key("bytes")), sample)
    return len(image_rows.examples([Sample(str(i)) for i in range(len(sample))], stored)) / len(sample)
