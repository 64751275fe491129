"""Read how far a campaign is from the files of its store, at a bounded cost: a listing, some result files, headers.

A file is opened only where the listing does not suffice. Of the result files, at most a sample is read. It is chosen by a hash
of the unit's name: every reader gets the same sample, and no kind of unit is preferred.
"""

import heapq
import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import nan
from typing import Any

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.planning.units import cell_of, images_of
from pipeline.scoring import blind
from pipeline.store import checkpoints, formats
from pipeline.store.compacted import is_compacted
from pipeline.store.layout import Store
from pipeline.store.rows import parsed

COLUMNS = ("status", "clean_correct", "grad_evals", "seconds", "device", *blind.COLUMNS)
READERS = 8
"""Files read at a time: most of a read from a bucket is waiting."""


@dataclass
class Commits:
    """Hold the committed units of one cell.

    times   when each was committed, in seconds since 1970; nan where that is unknown
    images  the images of each
    sample  the units whose rows are read, as (place by hash, unit)
    """

    times: "array[float]" = field(default_factory=lambda: array("d"))
    images: "array[int]" = field(default_factory=lambda: array("l"))
    sample: list[tuple[int, str]] = field(default_factory=list)

    def add(self, unit: str, time: float | None, most: int) -> None:
        """Add a unit, and keep a sample of at most `most` units.

        `time` is None where it is unknown: for units that release 0.1 compacted. Raises ValueError if no unit has this name.
        """
        self.images.append(images_of(unit))
        self.times.append(nan if time is None else time)
        place = -int.from_bytes(blake2b(unit.encode(), digest_size=7).digest(), "big")  # a heap's top is its least
        if len(self.sample) < most:
            heapq.heappush(self.sample, (place, unit))
        elif place > self.sample[0][0]:
            heapq.heapreplace(self.sample, (place, unit))


@dataclass(frozen=True)
class Rows:
    """Hold what status needs of the rows of one unit. `clean`, `attacked`: the share of right draws of each image; `blind`: the
    number of those whose attack saw no gradient."""

    images: int
    clean: list[float]
    attacked: list[float]
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
    """Hold what is committed, by cell; which of the units asked for are `seen`; how many files in results/ belong to no unit of
    these cells; and the compacted file of release 0.1 that holds each unit's rows, if any."""

    commits: dict[str, Commits]
    seen: set[str]
    foreign: int
    merged: dict[str, str]


def committed(store: Store, cells: Mapping[str, int], wanted: set[str]) -> Listing:
    """Return the committed units of each cell, with a sample of `cells[name]` units; `seen` are those of `wanted`."""
    found, seen, foreign = {cell: Commits() for cell in cells}, set(), 0
    own, merged = set(), store.merged()
    for entry in store.scan("results/cell=*/*.parquet"):
        folder, _, file = entry.name.rpartition("/")
        cell, unit = folder.rpartition("=")[2], file.removesuffix(".parquet")
        try:
            if not is_compacted(unit) or cell not in found:
                found[cell].add(unit, entry.modified, cells[cell])
        except (KeyError, ValueError):
            foreign += 1
            continue
        if unit in merged:
            own.add(unit)
        if unit in wanted:
            seen.add(unit)
    for unit in merged.keys() - own:
        cell_of_unit = cell_of(unit, cells)
        if cell_of_unit is None:
            foreign += 1
        else:
            found[cell_of_unit].add(unit, None, cells[cell_of_unit])
    return Listing(found, seen | (wanted & merged.keys()), foreign, merged)


def read(store: Store, cell: str, units: list[str], merged: Mapping[str, str]) -> Iterator[tuple[str, Rows | None]]:
    """Yield the rows of some units of a cell; None for a unit whose file is gone or damaged."""
    own = [unit for unit in units if unit not in merged]
    files = map_ordered(lambda unit: store.read(f"results/cell={cell}/{unit}.parquet"), own, READERS)
    yield from ((unit, _parsed(data).get(unit)) for unit, data in zip(own, files, strict=True))
    for file in sorted({merged[unit] for unit in units if unit in merged}):
        rows = _parsed(store.read(file))
        yield from ((unit, rows.get(unit)) for unit in units if merged.get(unit) == file)


def _parsed(data: bytes | None) -> dict[str, Rows]:
    """Return the rows of each unit in a file; nothing if it is gone, damaged or of another program."""
    try:
        found = parsed(data or b"", (*COLUMNS, "unit"))
        places: dict[str, list[int]] = {}
        for place, unit in enumerate(found["unit"]):
            places.setdefault(unit, []).append(place)
        return {unit: _rows({name: [found[name][i] for i in mine] for name in COLUMNS}) for unit, mine in places.items()}
    except (ValueError, KeyError, TypeError):
        return {}


def _rows(found: Mapping[str, list[Any]]) -> Rows:
    good = [i for i, status in enumerate(found["status"]) if status == "ok"]
    draws = found["evaluation_draws"]
    return Rows(
        images=len(draws),
        clean=[found["clean_correct"][i] / draws[i] for i in good],
        attacked=[found["adv_correct"][i] / draws[i] for i in good],
        failed=Counter(status for status in found["status"] if status != "ok"),
        blind=int(blind.blind({name: [found[name][i] for i in good] for name in blind.COLUMNS}).sum()),
        draw_gradients=sum(found["grad_evals"]),
        seconds=sum(found["seconds"]),
        devices=frozenset(found["device"]) - {None},
    )


def running(store: Store, cells: Collection[str], now: float) -> tuple[list[Running], list[str]]:
    """Return the units with a checkpoint, and the names of files that are not checkpoints of these cells.

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
        cell = cell_of(head.unit, cells) if head else None
        if head is None or cell is None:
            odd.append(file.name)
        elif head.unit not in found or head.step > found[head.unit].step:
            age = max(0.0, now - file.modified)
            found[head.unit] = Running(cell, head.unit, head.step, head.steps, head.images, head.seconds, age)
    return [found[unit] for unit in sorted(found)], sorted(odd)


def parked(store: Store, cells: Collection[str]) -> tuple[list[Parked], list[str]]:
    """Return the parked units, and the names of files that name no unit of these cells.

    Raises BadInput for a file of a later format.
    """
    found, odd = [], []
    for file in store.list("parked/*.json"):
        try:
            content = json.loads(formats.unstamped(file.name, store.read(file.name) or b""))
            unit, last = content["unit"], content["attempts"][-1]
            cell, lines = cell_of(unit, cells), str(last["error"]).strip().splitlines() or [""]
            images = images_of(unit)
        except BadInput:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            cell = None
        if cell is None:
            odd.append(file.name)
        else:
            found.append(Parked(cell, unit, images, len(content["attempts"]), last["host"], last["when"], lines[-1]))
    return sorted(found, key=lambda unit: unit.unit), sorted(odd)
