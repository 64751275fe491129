"""Report how far a campaign is, from the files of its store alone: during or after a run, without a cluster, without torch.

Counts come from the listing and are exact. Accuracy, costs and failed images come from rows. At most FILES files of rows are
read; with more files, these figures are estimates from a sample: `files_read` of `files`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.planning import time_left
from pipeline.planning.time_left import Throughput
from pipeline.scoring.intervals import Rate, Sample
from pipeline.status import scan
from pipeline.status.scan import Commits, Listing, Parked, Rows, Running
from pipeline.store import planned_cells
from pipeline.store.layout import Store
from pipeline.store.planned_cells import Planned

FILES = 2000
"""Result files that are read at most, over all cells."""

QUIET = 600.0
"""Seconds without a new file after which nothing seems to be at work, if no unit takes longer."""


@dataclass(frozen=True)
class CellStatus:
    """Describe one cell. Each unit is done, running, parked or left.

    `device_seconds_left` and `draw_gradients_left` leave out the steps that running units have done; None where nothing was
    measured yet. `clean` and `attacked` are top-1 accuracy in [0, 1], by the rule `single`. `blind` counts the images without a
    gradient, of the `images_read` in the files that were read.
    """

    units: int
    done: int
    running: int
    parked: int
    images: int
    images_done: int
    clean: Rate | None
    attacked: Rate | None
    draw_gradients: int
    draw_gradients_left: int
    device_seconds: float
    device_seconds_left: float | None
    images_read: int
    blind: int

    @property
    def left(self) -> int:
        """Return the number of units that have no file yet."""
        return max(0, self.units - self.done - self.running - self.parked)


@dataclass(frozen=True)
class Status:
    """Describe a store at one moment.

    stopped       units with a checkpoint, on which no worker seems to work
    failed        images that could not be attacked, by reason, in the files that were read
    seconds_left  wall-clock seconds until the campaign is done; None if unknown
    written       age in seconds of the newest result or checkpoint; None if there is none
    stalled       whether that is so old that no run seems to be at work
    files_read    result files whose rows were read, of `files`
    """

    store: str
    name: str
    cells: dict[str, CellStatus]
    running: list[Running]
    stopped: list[Running]
    parked: list[Parked]
    failed: dict[str, int]
    warnings: list[str]
    throughput: Throughput | None
    seconds_left: float | None
    written: float | None
    stalled: bool
    devices: list[str]
    files: int
    files_read: int

    @property
    def sampled(self) -> bool:
        return self.files_read < self.files

    @property
    def complete(self) -> bool:
        return all(cell.done >= cell.units for cell in self.cells.values())

    def total(self, name: str) -> Any:
        """Return the sum of a field of CellStatus over the cells; None if it is unknown for a cell."""
        values = [getattr(cell, name) for cell in self.cells.values()]
        return None if None in values else sum(values)


@dataclass
class Reader:
    """Read the status of a store, as often as wanted. Rows are kept, so each file of rows is read only once."""

    url: str
    files: int = FILES
    now: Callable[[], float] = time.time
    _rows: dict[str, Rows] = field(default_factory=dict)

    def status(self) -> Status:
        """Return the status of the store at this moment. Raises BadInput if the store holds no campaign."""
        store, now = Store(self.url), self.now()
        name, cells = planned_cells.read(store, self.url)
        plan = planned_cells.plan(store)
        begun, odd = scan.running(store, plan, now)  # before the listing: a unit that moves on meanwhile is seen as done
        parked, unclear = scan.parked(store, plan)
        wanted = {unit.unit for unit in begun} | {unit.unit for unit in parked}
        sample = -(-self.files // max(1, len(cells)))
        listing = scan.committed(store, plan, dict.fromkeys(cells, sample), wanted)
        commits, done, foreign = listing.commits, listing.seen, listing.foreign
        rows, unread = self._sample(store, listing)
        snapshot = _Snapshot(
            now=now,
            cells=cells,
            commits=commits,
            rows=rows,
            begun=[unit for unit in begun if unit.unit not in done],
            parked=[unit for unit in parked if unit.unit not in done],
        )
        leftovers = [unit.unit for unit in begun if unit.unit in done and unit.age > snapshot.quiet]
        return snapshot.status(name, self.url, [*_oddities(leftovers, [*odd, *unclear], foreign, unread)])

    def _sample(self, store: Store, listing: Listing) -> tuple[dict[str, list[Rows]], int]:
        """Return the rows of each cell's sample, and the number of files that could not be read."""
        names = {cell: [unit for _, unit, _ in found.sample] for cell, found in listing.commits.items()}
        sampled = {unit: file for found in listing.commits.values() for _, unit, file in found.sample}
        fresh = {unit: file for unit, file in sampled.items() if unit not in self._rows}
        self._rows |= {unit: rows for unit, rows in scan.read(store, fresh) if rows}
        found = {cell: [self._rows[unit] for unit in units if unit in self._rows] for cell, units in names.items()}
        return found, sum(map(len, names.values())) - sum(map(len, found.values()))


@dataclass(frozen=True)
class _Snapshot:
    """Hold what was read of a store at one moment, and compute its status."""

    now: float
    cells: dict[str, Planned]
    commits: dict[str, Commits]
    rows: dict[str, list[Rows]]
    begun: list[Running]
    parked: list[Parked]

    @cached_property
    def prices(self) -> dict[str, float]:
        """Return the device-seconds per image of each cell: from rows, else from checkpoints, else by weight from other cells.

        Empty if no cell has rows or checkpoints.
        """
        measured = {cell: _mean(rows, "seconds") for cell, rows in self.rows.items() if any(r.seconds for r in rows)}
        for unit in self.begun:
            if unit.cell not in measured and unit.share and unit.seconds:
                measured[unit.cell] = unit.seconds / (unit.share * unit.images)
        return time_left.prices(measured, {cell: found.weight for cell, found in self.cells.items()})

    @cached_property
    def quiet(self) -> float:
        """Return the seconds without a new file after which no run seems to work: twice the longest unit, at least QUIET."""
        longest = (self.prices.get(cell, 0.0) * max(found.images, default=0) for cell, found in self.commits.items())
        return max([QUIET, *(2 * seconds for seconds in longest)])

    @cached_property
    def alive(self) -> list[Running]:
        return [unit for unit in self.begun if unit.age <= self.quiet]

    @cached_property
    def written(self) -> float | None:
        """Return the age in seconds of the newest result or checkpoint; None if there is none."""
        times = [float(np.nanmax(found.times)) for found in self.commits.values() if not np.isnan(found.times).all()]
        return min([*(max(0.0, self.now - time) for time in times), *(unit.age for unit in self.begun)], default=None)

    def images_left(self, cell: str) -> float:
        """Return the images to do, without parked units. A running unit counts by the share of its steps that are left."""
        behind = sum(unit.share * unit.images for unit in self.begun if unit.cell == cell)
        parked = sum(unit.images for unit in self.parked if unit.cell == cell)
        return max(0.0, self.cells[cell].images - sum(self.commits[cell].images) - parked - behind)

    def cell(self, name: str) -> CellStatus:
        planned, commits, rows, price = self.cells[name], self.commits[name], self.rows[name], self.prices.get(name)
        images, left = sum(commits.images), self.images_left(name)
        begun = [unit for unit in self.begun if unit.cell == name]
        return CellStatus(
            units=planned.units,
            done=len(commits.times),
            running=sum(unit in self.alive for unit in begun),
            parked=sum(unit.cell == name for unit in self.parked),
            images=planned.images,
            images_done=images,
            clean=sum((file.clean for file in rows), Sample.of([])).rate,
            attacked=sum((file.attacked for file in rows), Sample.of([])).rate,
            draw_gradients=round(_mean(rows, "draw_gradients") * images),
            draw_gradients_left=round(planned.draw_gradients * left),
            device_seconds=_mean(rows, "seconds") * images + sum(unit.seconds for unit in begun),
            device_seconds_left=None if price is None and left else (price or 0.0) * left,
            images_read=sum(file.images for file in rows),
            blind=sum(file.blind for file in rows),
        )

    @cached_property
    def throughput(self) -> Throughput | None:
        """Return the rates of the latest commits; None if no unit is committed."""
        times, images = (
            [np.array(getattr(found, name), float) for found in self.commits.values()] for name in ("times", "images")
        )
        gradients = [_mean(self.rows[cell], "draw_gradients") * n for cell, n in zip(self.commits, images, strict=True)]
        seconds = [self.prices.get(cell, 0.0) * n for cell, n in zip(self.commits, images, strict=True)]
        if not times:
            return None
        return time_left.throughput(*map(np.concatenate, (times, images, gradients, seconds)))

    def seconds_left(self, units_left: int) -> float | None:
        """Return the wall-clock seconds until the campaign is done; None if unknown.

        The number of workers is that of the latest commits, or else of the units that write checkpoints.
        """
        workers = self.throughput.workers if self.throughput and self.throughput.workers else float(len(self.alive))
        left = {cell: self.images_left(cell) for cell in self.cells}
        if not any(left.values()):
            return 0.0
        return time_left.seconds_left(left, self.prices, min(workers, max(1, units_left))) if workers else None

    def status(self, name: str, url: str, warnings: list[str]) -> Status:
        cells = {cell: self.cell(cell) for cell in self.cells}
        to_do = sum(cell.units - cell.done - cell.parked for cell in cells.values())
        stalled = to_do > 0 and self.written is not None and self.written > self.quiet
        if stalled and self.written:
            quiet = f"nothing was written for {time_left.clock(self.written)}: no run seems to be at work"
            warnings = [f"{quiet}; run the campaign again to go on", *warnings]
        rows = [file for files in self.rows.values() for file in files]
        return Status(
            store=url,
            name=name,
            cells=cells,
            running=self.alive,
            stopped=[unit for unit in self.begun if unit not in self.alive],
            parked=self.parked,
            failed=dict(sum((file.failed for file in rows), Counter[str]())),
            warnings=warnings,
            throughput=self.throughput,
            seconds_left=self.seconds_left(to_do),
            written=self.written,
            stalled=stalled,
            devices=sorted({device for file in rows for device in file.devices}),
            files=sum(cell.done for cell in cells.values()),
            files_read=len(rows),
        )


def _mean(rows: Iterable[Rows], name: str) -> float:
    """Return the mean of a field of Rows per image; 0 without images."""
    rows = list(rows)
    return sum(getattr(file, name) for file in rows) / max(1, sum(file.images for file in rows))


def _oddities(leftovers: list[str], odd: list[str], foreign: int, unread: int) -> Iterator[str]:
    """Yield one line for each kind of file that does not belong into the store, or cannot be read."""
    for unit in leftovers:
        yield f"checkpoint of {unit} is left over: the unit is committed; the file does no harm and may be deleted"
    for name in odd:
        yield f"{name} is damaged or of another campaign: a run ignores it"
    if foreign:
        yield f"{foreign:,} files under results/ are no unit's of this campaign: `barrage verify` names them"
    if unread:
        yield f"{unread:,} result files can not be read: `barrage verify` names them"
