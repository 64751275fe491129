"""How fast a campaign goes and how long it will still take: one arithmetic for the live view of a run and for `barrage status`.

Time is counted in device-seconds: those of one worker's device. A cell's price is seconds an image, measured where rows or
events tell it. Cells that nobody has begun are priced by their `weight`, as the others turned out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

HOUR = 3600.0
PAUSE = 600.0
"""Seconds without a sign of work that are no part of any rate."""


def weight(draw_gradients: float, forwards: float, k: int) -> float:
    """What one image of a cell costs, in draw-gradients of the undefended model, roughly: a draw without a gradient is a third
    of one with, and five transforms cost about as much as the model."""
    return (draw_gradients + forwards / 3) * (1 + k / 5)


def prices(measured: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Device-seconds an image of every cell of `weights`, from those `measured`; none if nothing was measured."""
    known = sum(weights[cell] for cell in measured)
    if not known:
        return {}
    each = sum(measured.values()) / known
    return {cell: measured.get(cell, each * weights[cell]) for cell in weights}


def seconds_left(images: Mapping[str, float], prices: Mapping[str, float], workers: float) -> float | None:
    """Seconds until `images` left of each cell are done by so many workers; None where a price is unknown."""
    if any(count > 0 and cell not in prices for cell, count in images.items()):
        return None
    return sum(count * prices[cell] for cell, count in images.items() if count > 0) / max(workers, 1e-9)


@dataclass(frozen=True)
class Throughput:
    """Work of the last stretch without a pause, at most an hour or four units long: all figures are per second of the clock.

    `workers` is device-seconds a second: how many devices were at work, on average.
    """

    seconds: float
    images: float
    draw_gradients: float
    workers: float


def throughput(times: Floats, images: Floats, draw_gradients: Floats, device_seconds: Floats) -> Throughput | None:
    """The throughput that commits show, from the time of each (seconds, in any order; nan where it is lost) and what each took;
    None of none.

    A stretch ends with the last commit and begins an hour or four units before, or else where the first unit after a pause
    began: a unit was worked on before it was committed. A pause is longer than any unit by PAUSE.
    """
    order = np.argsort(times, kind="stable")
    order = order[~np.isnan(times[order])]
    if not len(order):
        return None
    times, took = times[order], device_seconds[order]
    longest = float(took.max())
    pauses = np.flatnonzero(np.diff(times) > longest + PAUSE)
    first = int(pauses[-1]) + 1 if len(pauses) else 0
    end = float(times[-1])
    start, begin = end - max(HOUR, 4 * longest), float((times - took)[first:].min())
    if begin >= start:
        start = begin
    else:
        first = int(np.searchsorted(times, start, side="right"))
    span = max(end - start, 1e-3)
    sums = (float(values[order][first:].sum()) / span for values in (images, draw_gradients, device_seconds))
    return Throughput(span, *sums)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 under an hour; 3 d 4 h from two days on."""
    if seconds >= 48 * HOUR:
        days, hours = divmod(round(seconds / HOUR), 24)
        return f"{days:,} d {hours} h"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
