"""Cut cells x shards into units. Pure: the same campaign, shards and cuts give the same units, in the same order."""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pipeline.planning.cost import cell_weight

if TYPE_CHECKING:
    from pipeline.config.campaign import Cell


Array = np.ndarray[Any, Any]

_NUMBERS = re.compile("([0-9]{6,})-([0-9]{6,})")
"""The end of a unit's name."""


class Counted(Protocol):
    """Describe what the plan needs to know of a shard."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def images(self) -> int:
        """Return how many images it holds."""


class Unit(NamedTuple):
    """Name the images `start` to `stop` of one shard, for one cell, counted in the order of `pipeline.data.order`.

    A unit is what a worker is handed, what is retried, what has a checkpoint, and what is committed as one file.
    """

    cell: str
    shard: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Return the name that its files have."""
        return f"{self.cell}--{self.shard}--{span(self.start, self.stop)}"

    @property
    def images(self) -> int:
        """Return how many images it has."""
        return self.stop - self.start

    @property
    def counted_as(self) -> str:
        """Return the label that metrics count the unit under: its cell."""
        return self.cell


_unit: Callable[[tuple[str, str, int, int]], Unit] = partial(tuple.__new__, Unit)
"""Make a unit without a call of Python's, of which a million would take a second."""


def span(start: int, stop: int) -> str:
    """Return the end of a unit's name: which images of its shard it has."""
    return f"{start:06d}-{stop:06d}"


def of_name(name: str, cells: Iterable[str], shards: Container[str]) -> Unit | None:
    """Return the unit of this name whose cell and shard are among these, or None. No campaign has two of one name."""
    head, _, numbers = name.rpartition("--")
    found = _NUMBERS.fullmatch(numbers)
    if found is None:
        return None
    for cell in cells:
        if head.startswith(f"{cell}--") and (shard := head[len(cell) + 2 :]) in shards:
            return Unit(cell, shard, int(found[1]), int(found[2]))
    return None


def images_of(name: str) -> int:
    """Return how many images the unit of this name has. Raises ValueError if no unit has such a name."""
    start, stop = name.rpartition("--")[2].split("-")
    return int(stop) - int(start)


Runs = tuple[tuple[int, int], ...]
"""(images of a unit, how many units of that size follow one another), from the start of a shard."""


@dataclass(frozen=True)
class Cut:
    """Say how a cell's images are cut into units. `pipeline.planning.unit_sizes` decides it once, when the cell is new."""

    images: int
    """Images of a unit, at most."""
    rounds: int = 1
    """Equal shares of every shard. A stop rule may check a cell after each. The images of a unit are all of one round."""
    smaller: Mapping[str, Runs] = field(default_factory=dict)
    """Shards with smaller units, so that few workers wait at the end of a campaign. Only where there is one round."""

    def lengths(self, shard: str, images: int) -> Iterator[int]:
        """Yield the images of each unit of a shard that has `images` images."""
        if shard in self.smaller:
            yield from (length for length, count in self.smaller[shard] for _ in range(count))
            return
        for number in range(self.rounds):
            run = images * (number + 1) // self.rounds - images * number // self.rounds
            yield from (min(self.images, run - begun) for begun in range(0, run, self.images))

    def round_of(self, unit: Unit, images: int) -> int:
        """Return the round of a unit, from 0; its shard has `images` images."""
        return ((unit.start + 1) * self.rounds - 1) // images

    def spans(self, images: Mapping[str, int]) -> "Spans":
        """Return which images each unit of a cell has; `images` of each shard."""
        alike: dict[int, Array] = {}
        lengths = []
        for shard, count in images.items():
            if shard in self.smaller:
                sizes, times = np.array(self.smaller[shard], np.int64).reshape(-1, 2).T
                lengths.append(np.repeat(sizes, times))
                continue
            if count not in alike:
                alike[count] = np.fromiter(self.lengths(shard, count), np.int64)
            lengths.append(alike[count])
        return Spans.of(lengths, np.fromiter(images.values(), np.int64), self.rounds)


class Spans(NamedTuple):
    """Hold which images the units of a cell have, shard by shard, each (units,): a million take no object each.

    shard   place of the unit's shard among the campaign's
    start   its first image
    stop    the one after its last
    round   of the unit, from 0
    pace    the share of the shard that lies before it, in [0, 1)
    """

    shard: Array
    start: Array
    stop: Array
    round: Array
    pace: Array

    @classmethod
    def of(cls, lengths: Sequence[Array], counts: Array, rounds: int) -> "Spans":
        """Return the spans of units that follow one another: their `lengths` by shard; images of each shard (shards,)."""
        units = np.array([len(own) for own in lengths], np.int64)
        shard = np.repeat(np.arange(len(units)), units)
        every = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        stop = np.cumsum(every)
        sizes = np.array([own.sum() for own in lengths], np.int64)
        stop -= np.repeat(np.cumsum(sizes) - sizes, units)
        start, images = stop - every, counts[shard]
        return cls(shard, start, stop, ((start + 1) * rounds - 1) // images, start / images)

    @property
    def images(self) -> int:
        """Return how many images they have together."""
        return int((self.stop - self.start).sum())

    def until(self, last: int) -> "Spans":
        """Return those up to and with a round."""
        return Spans(*(part[self.round <= last] for part in self))

    def in_order(self) -> "Spans":
        """Return them in the order of the work: by round, then at an even pace, then by shard."""
        order = np.lexsort((self.shard, self.pace, self.round))
        return Spans(*(part[order] for part in self))


def costliest_first(cells: "Iterable[Cell]") -> "list[Cell]":
    """Return the cells in the order of the work: the costliest first, so that few workers wait at the end."""
    return sorted(cells, key=lambda cell: (-cell_weight(cell), cell.name))


def planned_images(shards: Iterable[Counted], limit: int | None = None) -> dict[str, int]:
    """Return how many images of each shard are attacked: the first `limit` images in the order of the shards (default: all)."""
    counts, left = {}, limit
    for shard in shards:
        counts[shard.name] = shard.images if left is None else min(shard.images, left)
        left = None if left is None else left - counts[shard.name]
    return counts


def units(cells: "Iterable[Cell]", images: Mapping[str, int], cuts: Mapping[str, Cut]) -> Iterator[Unit]:
    """Yield every unit of a campaign in the order of the work: cell by cell, all shards of a cell at an even pace.

    So the finished part of a cell is close to a random sample of the whole. `images` of each shard, `cuts` of each cell.
    """
    names = list(images)
    for cell in costliest_first(cells):
        spans = cuts[cell.name].spans(images).in_order()
        shards = map(names.__getitem__, spans.shard.tolist())
        yield from map(_unit, zip(repeat(cell.name), shards, spans.start.tolist(), spans.stop.tolist(), strict=False))
