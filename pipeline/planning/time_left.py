"""Compute how fast a campaign goes and how long it will still take, for the live view of a run and for `barrage status`.

Time is counted in device-seconds: seconds of one worker's device. A cell's price is device-seconds an image, measured where
rows or events show it. Cells that were not begun are priced by their weight (`pipeline.planning.cost`), at the price per weight
of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

HOUR = 3600.0
PAUSE = 600.0
"""Seconds without a commit that end a stretch of work, so that a night without a run lowers no rate."""


def prices(measured: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the device-seconds an image of every cell in `weights`, from those `measured`; empty if none was measured."""
    known = sum(weights[cell] for cell in measured)
    if not known:
        return {}
    each = sum(measured.values()) / known
    return {cell: measured.get(cell, each * weights[cell]) for cell in weights}


def seconds_left(images: Mapping[str, float], prices: Mapping[str, float], workers: float) -> float | None:
    """Return the wall-clock seconds until the `images` left of each cell are done; None if a price is unknown.

    `workers` is the number of workers, which may be a mean. Work is taken to be shared evenly.
    """
    if any(count > 0 and cell not in prices for cell, count in images.items()):
        return None
    return sum(count * prices[cell] for cell, count in images.items() if count > 0) / max(workers, 1e-9)


@dataclass(frozen=True)
class Throughput:
    """Hold the work of the last stretch without a pause, at most an hour or four units long, per wall-clock second.

    `seconds` is the length of the stretch. `workers` is device-seconds a second: the mean number of devices at work.
    """

    seconds: float
    images: float
    draw_gradients: float
    workers: float


def throughput(times: Floats, images: Floats, draw_gradients: Floats, device_seconds: Floats) -> Throughput | None:
    """Return the throughput that commits show; None if there are none. All arrays (n,), one value a commit, in any order.

    `times` in seconds, nan where a time is not known; `device_seconds` that each commit took.

    The stretch ends with the last commit. It begins an hour or four units before, or where the first unit after a pause was
    begun, which was before its commit. A pause is longer than the longest unit by PAUSE.
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
    """Return a time in words: 1:02:03, or 2:03 under an hour, or 3 d 4 h from two days on."""
    if seconds >= 48 * HOUR:
        days, hours = divmod(round(seconds / HOUR), 24)
        return f"{days:,} d {hours} h"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
