"""How large units are: about a quarter of an hour of one worker, from a measured rate, and less towards the end.

A unit costs a read of its shard and a file; a long one keeps the others waiting at the end of a campaign. So a unit takes
UNIT_SECONDS, but never more than a SHARE of the work that is left when it is handed out, and not less than LEAST_SECONDS. In
a campaign of any length the last units are small, and since the large ones go first nobody waits for long (`idle`).

The cut is decided before a cell's first unit is begun, and kept in the store: units are what rows are committed by, so they
never depend on who works, on how fast, or on what was measured later.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from pydantic import TypeAdapter

from pipeline.config.campaign import Campaign, Cell
from pipeline.planning.throughput import alike
from pipeline.planning.units import Cut, Runs, by_price

UNIT_SECONDS = 900.0
LEAST_SECONDS = 60.0
SHARE = 256
"""As many units as are left at any time, until they are of the smallest size: enough for as many workers."""

ROUNDS = 20
"""Looks of a stop rule, at most: after each twentieth of the images."""

MOST_BYTES = 200_000_000
"""Of the images of a unit in fp32: a checkpoint holds several such tensors and is written every few minutes."""

UNMEASURED = 16
"""Images of a unit where measuring failed."""


@dataclass(frozen=True)
class Trial:
    """A cell to be measured by a worker, in the place of a unit."""

    cell: str

    @property
    def name(self) -> str:
        return f"measuring {self.cell}"


@dataclass(frozen=True)
class Measured:
    """Draw-gradients a second of one worker, for cells like that of the trial."""

    unit: Trial
    rate: float


def trials(cells: Iterable[Cell]) -> list[Trial]:
    """What must be measured to know the rate of each cell: one of those that are alike."""
    return [Trial(name) for name in {alike(cell): cell.name for cell in cells}.values()]


def rates(cells: Iterable[Cell], measured: Iterable[Measured]) -> dict[str, float]:
    """Draw-gradients a second of each cell, from what was measured; cells that nobody measured are missing."""
    cells = list(cells)
    known = {cell.name: alike(cell) for cell in cells}
    found = {known[event.unit.cell]: event.rate for event in measured}
    return {cell.name: found[alike(cell)] for cell in cells if alike(cell) in found}


def seconds_an_image(cell: Cell, rate: float) -> float:
    """Of one worker, with the verdicts; a forward pass is a third of a draw-gradient."""
    cost = cell.cost
    return (cost.gradients + (cost.forwards + 2 * cell.judged_by) / 3) / rate


def cuts(campaign: Campaign, cells: Iterable[Cell], images: Mapping[str, int], rate: Mapping[str, float]) -> dict[str, Cut]:
    """The cut of cells that come into a store. `images` of each shard, `rate` in draw-gradients a second of one worker."""
    cells = by_price(cells)
    total = sum(images.values())
    rounds = max(1, min(ROUNDS, total // max(1, len(images)))) if campaign.stop else 1
    if campaign.unit_images is not None:
        return {cell.name: Cut(campaign.unit_images, rounds) for cell in cells}
    left = sum(total * seconds_an_image(cell, rate[cell.name]) for cell in cells if cell.name in rate)
    found = {}
    for cell in cells:
        if cell.name not in rate:
            found[cell.name] = Cut(UNMEASURED, rounds)
            continue
        each, most = seconds_an_image(cell, rate[cell.name]), max(1, MOST_BYTES // (12 * cell.crop**2))
        if rounds > 1:  # every round ends with a wait, so its units are as small as those at the end of a campaign
            found[cell.name] = Cut(_length(total / rounds * each, each, most), rounds)
        else:
            found[cell.name] = _tapered(images, left, each, most)
        left -= total * each
    return found


def _length(left: float, each: float, most: int) -> int:
    """Images of a unit while so many seconds of work are left and an image takes `each`."""
    return min(most, max(1, round(min(UNIT_SECONDS, max(LEAST_SECONDS, left / SHARE)) / each)))


def _tapered(images: Mapping[str, int], left: float, each: float, most: int) -> Cut:
    """One round, the units getting smaller as the work of the campaign does: the shards are cut at an even pace."""
    largest = _length(left, each, most)
    lengths: dict[str, list[int]] = {shard: [] for shard in images}
    fronts = [(0.0, place, shard, 0) for place, (shard, count) in enumerate(images.items()) if count]
    while fronts:
        _, place, shard, start = heapq.heappop(fronts)
        length = min(_length(left, each, most), images[shard] - start)
        lengths[shard].append(length)
        left, start = left - length * each, start + length
        if start < images[shard]:
            heapq.heappush(fronts, (start / images[shard], place, shard, start))
    plain = Cut(largest)
    return Cut(largest, 1, {s: _runs(found) for s, found in lengths.items() if found != list(plain.lengths(s, images[s]))})


def _runs(lengths: Iterable[int]) -> Runs:
    return tuple((length, len(list(same))) for length, same in groupby(lengths))


def idle(seconds: Iterable[float], workers: int) -> float:
    """The share of the workers' time that is spent waiting for the last unit, if units of so many seconds go to whoever is
    free, in that order."""
    free = [0.0] * workers
    work = 0.0
    for unit in seconds:
        heapq.heapreplace(free, free[0] + unit)
        work += unit
    return 1 - work / (workers * max(free)) if work else 0.0


_CUT = TypeAdapter(Cut)


def encode(cut: Cut) -> bytes:
    """A cut as the JSON that a store keeps."""
    return _CUT.dump_json(cut)


def decode(data: bytes) -> Cut:
    return _CUT.validate_json(data)
