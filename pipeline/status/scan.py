"""What the files of a store show while a campaign runs, read at a bounded cost: a listing, some result files, headers.

No file is opened that the listing alone can speak for. Of result files at most a sample is read, chosen by a hash of the
unit's name, so that it is the same sample for everybody and no kind of unit is favoured.
"""

import heapq
import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from math import nan
from typing import Any

from pipeline.planning.units import cell_of, images_of
from pipeline.store import checkpoints
from pipeline.store.layout import COMPACTED, Store
from pipeline.store.rows import parsed

COLUMNS = ("status", "clean_correct", "adv_correct", "evaluation_draws", "grad_evals", "seconds", "device")
READERS = 8
"""Files read at a time: most of a read from a bucket is waiting."""


@dataclass
class Commits:
    """The committed units of one cell: when (seconds since 1970, or nan), how many images each, and which are the sample."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    images: "array[int]" = field(default_factory=lambda: array("l"))
    sample: list[tuple[int, str]] = field(default_factory=list)

    def add(self, unit: str, time: float | None, most: int) -> None:
        """`time` None where it is lost: of units whose rows are compacted. Raises ValueError for a name that is no unit's."""
        self.images.append(images_of(unit))
        self.times.append(nan if time is None else time)
        place = -int.from_bytes(blake2b(unit.encode(), digest_size=7).digest(), "big")  # a heap's top is its least
        if len(self.sample) < most:
            heapq.heappush(self.sample, (place, unit))
        elif place > self.sample[0][0]:
            heapq.heapreplace(self.sample, (place, unit))


@dataclass(frozen=True)
class Rows:
    """What status needs of the rows of one file. `clean` and `attacked` are shares of draws that were right, an image each."""

    images: int
    clean: list[float]
    attacked: list[float]
    failed: Counter[str]
    draw_gradients: int
    seconds: float
    devices: frozenset[str]


@dataclass(frozen=True)
class Running:
    """A unit with a checkpoint: its step of `steps`, the device-seconds behind it, and the checkpoint's age in seconds."""

    cell: str
    unit: str
    step: float
    steps: int
    images: int
    seconds: float
    age: float

    @property
    def share(self) -> float:
        """Of its steps, in [0, 1]."""
        return self.step / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Parked:
    """A unit that was given up: how often it was tried, where and when last, and the last line of what went wrong there."""

    cell: str
    unit: str
    images: int
    attempts: int
    host: str
    when: str
    error: str


@dataclass(frozen=True)
class Listing:
    """What is committed, by cell; which units of those asked for are `seen`; the compacted file of each unit in one; and how
    many files under results/ are no unit's of these cells."""

    commits: dict[str, Commits]
    seen: set[str]
    compacted: dict[str, str]
    foreign: int


def committed(store: Store, cells: Mapping[str, int], wanted: set[str]) -> Listing:
    """The committed units of each cell, with samples of as many as `cells` says."""
    found, seen, foreign = {cell: Commits() for cell in cells}, set(), 0
    own = set()
    compacted = _compacted(store)  # first: a unit is listed there before its own file goes
    for entry in store.scan("results/cell=*/*.parquet"):
        folder, _, file = entry.name.rpartition("/")
        cell, unit = folder.rpartition("=")[2], file.removesuffix(".parquet")
        try:
            if not COMPACTED.fullmatch(unit) or cell not in found:
                found[cell].add(unit, entry.modified, cells[cell])
        except (KeyError, ValueError):
            foreign += 1
            continue
        if unit in compacted:
            own.add(unit)
        if unit in wanted:
            seen.add(unit)
    for unit in compacted.keys() - own:
        of = cell_of(unit, cells)
        if of is None:
            foreign += 1
        else:
            found[of].add(unit, None, cells[of])
    return Listing(found, seen | (wanted & compacted.keys()), compacted, foreign)


def _compacted(store: Store) -> dict[str, str]:
    """The units whose rows are in a compacted file, and in which; where its list is not at hand, the rows say it."""
    there = store.compacted()
    lists = store.lists() if there else {}
    return {unit: file for file in there for unit in (lists[file] if file in lists else _units(store.read(file)))}


def _units(data: bytes | None) -> set[str]:
    """The units whose rows a file holds; none if it is damaged."""
    try:
        return set(parsed(data or b"", ("unit",))["unit"])
    except ValueError:
        return set()


def read(store: Store, cell: str, units: list[str], compacted: Mapping[str, str]) -> Iterator[tuple[str, Rows | None]]:
    """The rows of some units of a cell; None for one that is gone or damaged."""
    own = [unit for unit in units if unit not in compacted]
    with ThreadPoolExecutor(READERS) as pool:
        yield from zip(own, pool.map(lambda unit: _own(store.read(f"results/cell={cell}/{unit}.parquet")), own), strict=True)
    for file in sorted({compacted[unit] for unit in units if unit in compacted}):
        wanted = {unit for unit in units if compacted.get(unit) == file}
        yield from _inside(store.read(file), wanted)


def _own(data: bytes | None) -> Rows | None:
    try:
        return _rows(parsed(data or b"", COLUMNS))
    except (ValueError, KeyError, TypeError):
        return None


def _inside(data: bytes | None, units: set[str]) -> Iterator[tuple[str, Rows | None]]:
    """The rows of some units of a compacted file."""
    try:
        found = parsed(data or b"", (*COLUMNS, "unit"))
    except ValueError:
        yield from ((unit, None) for unit in units)
        return
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(found["unit"]):
        if unit in units:
            places.setdefault(unit, []).append(place)
    for unit in units:
        mine = places.get(unit)
        yield unit, _rows({name: [found[name][i] for i in mine] for name in COLUMNS}) if mine else None


def _rows(found: Mapping[str, list[Any]]) -> Rows:
    good = [i for i, status in enumerate(found["status"]) if status == "ok"]
    draws = found["evaluation_draws"]
    return Rows(
        images=len(draws),
        clean=[found["clean_correct"][i] / draws[i] for i in good],
        attacked=[found["adv_correct"][i] / draws[i] for i in good],
        failed=Counter(status for status in found["status"] if status != "ok"),
        draw_gradients=sum(found["grad_evals"]),
        seconds=sum(found["seconds"]),
        devices=frozenset(found["device"]),
    )


def running(store: Store, cells: Collection[str], now: float) -> tuple[list[Running], list[str]]:
    """The units with a checkpoint, the furthest of each, and the names of files that are no checkpoints of these cells."""
    found: dict[str, Running] = {}
    odd = []
    for file in store.list("checkpoints/*.safetensors"):
        data = store.read(file.name, checkpoints.HEADER_BYTES)
        if data is None:  # committed this moment
            continue
        head = checkpoints.header(data)
        cell = cell_of(head.unit, cells) if head else None
        if head is None or cell is None:
            odd.append(file.name)
        elif head.unit not in found or head.step > found[head.unit].step:
            age = max(0.0, now - file.modified)
            found[head.unit] = Running(cell, head.unit, head.step, head.steps, head.images, head.seconds, age)
    return [found[unit] for unit in sorted(found)], sorted(odd)


def parked(store: Store, cells: Collection[str]) -> tuple[list[Parked], list[str]]:
    """The units that were given up, and the names of files that do not say which."""
    found, odd = [], []
    for file in store.list("parked/*.json"):
        try:
            content = json.loads(store.read(file.name) or b"")
            unit, last = content["unit"], content["attempts"][-1]
            cell, said = cell_of(unit, cells), str(last["error"]).strip().splitlines() or [""]
            images = images_of(unit)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            cell = None
        if cell is None:
            odd.append(file.name)
        else:
            found.append(Parked(cell, unit, images, len(content["attempts"]), last["host"], last["when"], said[-1]))
    return sorted(found, key=lambda unit: unit.unit), sorted(odd)
