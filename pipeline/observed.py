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

from pipeline import checkpoint
from pipeline.plan import cell_of, images_of
from pipeline.results import parsed
from pipeline.store import Store

COLUMNS = ("status", "clean_correct", "adv_correct", "evaluation_draws", "grad_evals", "seconds", "device")
READERS = 8
"""Files read at a time: most of a read from a bucket is waiting."""


@dataclass
class Commits:
    """The committed units of one cell: when (seconds since 1970), how many images each, and which of them are the sample."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    images: "array[int]" = field(default_factory=lambda: array("l"))
    sample: list[tuple[int, str]] = field(default_factory=list)

    def add(self, unit: str, time: float, most: int) -> None:
        """Raises ValueError for a name that is no unit's."""
        self.images.append(images_of(unit))
        self.times.append(time)
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


def commits(store: Store, cells: Mapping[str, int], wanted: set[str]) -> tuple[dict[str, Commits], set[str], int]:
    """The committed units of each cell, with samples of as many as `cells` says; which units of `wanted` are among them;
    and how many files under results/ are no unit's of these cells."""
    found, seen, foreign = {cell: Commits() for cell in cells}, set(), 0
    for name, time in store.listing("results/cell=*/*.parquet"):
        folder, _, file = name.rpartition("/")
        cell, unit = folder.rpartition("=")[2], file.removesuffix(".parquet")
        try:
            found[cell].add(unit, time, cells[cell])
        except (KeyError, ValueError):
            foreign += 1
            continue
        if unit in wanted:
            seen.add(unit)
    return found, seen, foreign


def read(store: Store, cell: str, units: list[str]) -> Iterator[tuple[str, Rows | None]]:
    """The rows of some units of a cell; None for one that is gone or damaged."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from zip(
            units, pool.map(lambda unit: _rows(store.read(f"results/cell={cell}/{unit}.parquet")), units), strict=True
        )


def _rows(data: bytes | None) -> Rows | None:
    try:
        found = parsed(data or b"", COLUMNS)
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
    except (ValueError, KeyError, TypeError):
        return None


def running(store: Store, cells: Collection[str], now: float) -> tuple[list[Running], list[str]]:
    """The units with a checkpoint, the furthest of each, and the names of files that are no checkpoints of these cells."""
    found: dict[str, Running] = {}
    odd = []
    for name, time in store.listing("checkpoints/*.safetensors"):
        data = store.head(name, checkpoint.HEADER_BYTES)
        if data is None:  # committed this moment
            continue
        head = checkpoint.header(data)
        cell = cell_of(head.unit, cells) if head else None
        if head is None or cell is None:
            odd.append(name)
        elif head.unit not in found or head.step > found[head.unit].step:
            age = max(0.0, now - time)
            found[head.unit] = Running(cell, head.unit, head.step, head.steps, head.images, head.seconds, age)
    return [found[unit] for unit in sorted(found)], sorted(odd)


def parked(store: Store, cells: Collection[str]) -> tuple[list[Parked], list[str]]:
    """The units that were given up, and the names of files that do not say which."""
    found, odd = [], []
    for name, _ in store.listing("parked/*.json"):
        try:
            content = json.loads(store.read(name) or b"")
            unit, last = content["unit"], content["attempts"][-1]
            cell, said = cell_of(unit, cells), str(last["error"]).strip().splitlines() or [""]
            images = images_of(unit)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            cell = None
        if cell is None:
            odd.append(name)
        else:
            found.append(Parked(cell, unit, images, len(content["attempts"]), last["host"], last["when"], said[-1]))
    return sorted(found, key=lambda unit: unit.unit), sorted(odd)
