"""Read how far a campaign is from the files of its store, at a bounded cost: a listing, some result files, headers.

A file is opened only where the listing does not suffice. Of the result files, at most a sample is read. It is chosen by a hash
of the unit's name: every reader gets the same sample, and no kind of unit is preferred.
"""

import heapq
import io
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import nan

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.planning.units import images_of
from pipeline.scoring import blind
from pipeline.scoring.alike import alike
from pipeline.scoring.intervals import Sample
from pipeline.scoring.rules import attacked, failed
from pipeline.scoring.summaries import blind_images
from pipeline.store import checkpoints, formats, rows
from pipeline.store.compacted import is_compacted
from pipeline.store.layout import EARLIER, Store, stem_of
from pipeline.store.planned_cells import Plan

COLUMNS = ("status", "clean_correct", "grad_evals", "seconds", "device", *blind.COLUMNS)
READERS = 8
"""Files read at a time: most of a read from a bucket is waiting."""


@dataclass
class Commits:
    """Hold the committed units of one cell.

    times   when each was committed, in seconds since 1970; nan where that is unknown
    images  the images of each
    sample  the units whose rows are read, as (place by hash, unit, its file)
    """

    times: "array[float]" = field(default_factory=lambda: array("d"))
    images: "array[int]" = field(default_factory=lambda: array("l"))
    sample: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, unit: str, file: str, time: float | None, most: int) -> None:
        """Add a unit, and keep a sample of at most `most` units.

        `time` is None where it is unknown: for units that release 0.1 compacted. Raises ValueError if no unit has this name.
        """
        self.images.append(images_of(unit))
        self.times.append(nan if time is None else time)
        place = -int.from_bytes(blake2b(unit.encode(), digest_size=7).digest(), "big")  # a heap's top is its least
        if len(self.sample) < most:
            heapq.heappush(self.sample, (place, unit, file))
        elif place > self.sample[0][0]:
            heapq.heapreplace(self.sample, (place, unit, file))


@dataclass(frozen=True)
class Rows:
    """Hold what status needs of the rows of one unit.

    clean, attacked  the shares of right draws of its images, counted
    blind            number of attacked images whose attack saw no gradient
    """

    images: int
    clean: Sample
    attacked: Sample
    failed: Counter[str]
    blind: int
    draw_gradients: int
    seconds: float
    devices: frozenset[str]


@dataclass(frozen=True)
class Running:
    """Describe a unit with a checkpoint: its step of `steps`, its device-seconds so far, the checkpoint's age in seconds."""

    cell: str
    unit: str
    step: float
    steps: int
    images: int
    seconds: float
    age: float

    @property
    def share(self) -> float:
        """Return the share of its steps that are done, in [0, 1]."""
        return self.step / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Parked:
    """Describe a parked unit: how often it was tried, host and time of the last attempt, and the last line of its error."""

    cell: str
    unit: str
    images: int
    attempts: int
    host: str
    when: str
    error: str


@dataclass(frozen=True)
class Listing:
    """Hold what is committed, by cell; which of the units asked for are `seen`; and how many files in results/ belong to no
    unit of the plan."""

    commits: dict[str, Commits]
    seen: set[str]
    foreign: int


def committed(store: Store, plan: Plan, cells: Mapping[str, int], wanted: set[str]) -> Listing:
    """Return the committed units of each cell, with a sample of `cells[name]` units; `seen` are those of `wanted`.

    Units that the plan does not hold are `foreign`. Raises BadInput for damaged files of the plan.
    """
    found, seen, foreign = {cell: Commits() for cell in cells}, set(), 0
    merged, earlier = store.merged(), set()

    def add(unit: str, file: str, modified: float | None) -> int:
        """Add a committed unit; return 1 if it is foreign."""
        try:
            cell = plan.cell_of(unit)
            found[cell].add(unit, merged.get(unit, file), modified, cells[cell])
        except (BadInput, KeyError):
            return 1
        if unit in wanted:
            seen.add(unit)
        return 0

    for file, _, modified in store.entries():
        unit = stem_of(file)
        if unit not in earlier and not is_compacted(unit):
            foreign += add(unit, file, modified)
            if file.startswith(EARLIER):  # a unit of an earlier release counts once, wherever it lies
                earlier.add(unit)
    for unit in merged.keys() - earlier:
        foreign += add(unit, merged[unit], None)
    return Listing(found, seen, foreign)


def read(store: Store, files: Mapping[str, str]) -> Iterator[tuple[str, Rows | None]]:
    """Yield the rows of some units, given each one's file; None for a unit whose file is gone or damaged."""
    inside: dict[str, list[str]] = {}
    for unit, file in files.items():
        inside.setdefault(file, []).append(unit)
    for (file, units), data in zip(inside.items(), map_ordered(store.read, inside, READERS), strict=True):
        found = _parsed(file, data)
        yield from ((unit, found.get(unit)) for unit in units)


def _parsed(file: str, data: bytes | None) -> dict[str, Rows]:
    """Return the rows of each unit in a file; nothing if it is gone, damaged or of another program."""
    try:
        pieces = list(rows.read(io.BytesIO(data or b""), file, (*COLUMNS, "unit")))
        found = pa.Table.from_batches(pieces).unify_dictionaries()
        units = found["unit"].unique().to_pylist()
        return {unit: _rows(found if len(units) == 1 else found.filter(pc.equal(found["unit"], unit))) for unit in units}
    except (ValueError, pa.ArrowException):
        return {}


def _rows(found: pa.Table) -> Rows:
    """Return what the rows of one unit say. Raises ValueError where a figure of an attacked image is missing."""
    good = attacked(found)
    if any(good[name].null_count for name in ("evaluation_draws", "clean_correct", "adv_correct")):
        raise ValueError("an attacked image lacks its counts")
    clean, adv = (_sample(good, side) for side in ("clean", "adv"))
    return Rows(
        images=len(found),
        clean=clean,
        attacked=adv,
        failed=Counter(failed(found)["status"].to_pylist()),
        blind=blind_images(good),
        draw_gradients=pc.sum(found["grad_evals"], min_count=0).as_py(),
        seconds=pc.sum(found["seconds"], min_count=0).as_py(),
        devices=frozenset(found["device"].unique().to_pylist()) - {None},
    )


def _sample(good: pa.Table, side: str) -> Sample:
    """Return the shares of right draws of attacked images."""
    counts = good.select([f"{side}_correct", "evaluation_draws"])
    few, images = alike(counts)
    right, draws = (column.to_numpy() for column in (few if few.num_columns else counts).columns)
    return Sample.of(right / draws, images if few.num_columns else None)


def running(store: Store, plan: Plan, now: float) -> tuple[list[Running], list[str]]:
    """Return the units with a checkpoint, and the names of files that are not checkpoints of its cells.

    A unit with several checkpoints counts once, by the one with most steps done. `now` is in seconds since 1970.
    Raises BadInput for a checkpoint of a later format.
    """
    found: dict[str, Running] = {}
    odd = []
    for file in store.list("checkpoints/*.safetensors"):
        data = store.read(file.name, checkpoints.HEADER_BYTES)
        if data is None:  # committed this moment
            continue
        head = checkpoints.header(data, file.name)
        unit = plan.named(head.unit) if head else None
        if head is None or unit is None:
            odd.append(file.name)
        elif head.unit not in found or head.step > found[head.unit].step:
            age = max(0.0, now - file.modified)
            found[head.unit] = Running(unit.cell, head.unit, head.step, head.steps, head.images, head.seconds, age)
    return [found[unit] for unit in sorted(found)], sorted(odd)


def parked(store: Store, plan: Plan) -> tuple[list[Parked], list[str]]:
    """Return the parked units, and the names of files that name no unit of its cells.

    Raises BadInput for a file of a later format.
    """
    found, odd = [], []
    for file in store.list("parked/*.json"):
        try:
            content = formats.of_json(file.name, store.read(file.name) or b"")
            unit, attempts = plan.named(content["unit"]), content["attempts"]
            host, when, error = (str(attempts[-1][name]) for name in ("host", "when", "error"))
            lines = error.strip().splitlines() or [""]
        except formats.Damaged:
            unit = None
        except BadInput:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            unit = None
        if unit is None:
            odd.append(file.name)
        else:
            found.append(Parked(unit.cell, unit.name, unit.images, len(attempts), host, when, lines[-1]))
    return sorted(found, key=lambda unit: unit.unit), sorted(odd)
