"""Cells x shards, cut into units. Pure: the same campaign, shards and cuts give the same units, in the same order."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.config.campaign import Cell


class Counted(Protocol):
    """What the plan needs to know of a shard."""

    @property
    def name(self) -> str: ...
    @property
    def images(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Unit:
    """Images `start` to `stop` of one shard, counted in the order of `pipeline.data.order`, for one cell: what is leased,
    retried, checkpointed and committed."""

    cell: str
    shard: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.cell}--{self.shard}--{self.start:06d}-{self.stop:06d}"

    @property
    def images(self) -> int:
        return self.stop - self.start


def cell_of(name: str, cells: Iterable[str]) -> str | None:
    """The cell, of these, that the unit of this name belongs to; the longest where names of cells hold hyphens of their own."""
    return max((cell for cell in cells if name.startswith(f"{cell}--")), key=len, default=None)


def images_of(name: str) -> int:
    """How many images a unit of this name has. Raises ValueError if it is no unit's."""
    start, stop = name.rpartition("--")[2].split("-")
    return int(stop) - int(start)


Runs = tuple[tuple[int, int], ...]
"""(images of a unit, units of that size that follow one another), from the start of a shard."""


@dataclass(frozen=True)
class Cut:
    """How a cell's images are cut into units. Decided once, when the cell comes into a store: see `pipeline.planning.unit_sizes`."""

    images: int
    """Of a unit, at most."""
    rounds: int = 1
    """Equal shares of every shard, after which a stop rule may look. A unit lies in one round."""
    smaller: Mapping[str, Runs] = field(default_factory=dict)
    """Shards whose units are smaller, so that the end of a campaign is not waited for; of one round only."""

    def lengths(self, shard: str, images: int) -> Iterator[int]:
        """The images of each unit of a shard with so many images."""
        if shard in self.smaller:
            yield from (length for length, count in self.smaller[shard] for _ in range(count))
            return
        for number in range(self.rounds):
            run = images * (number + 1) // self.rounds - images * number // self.rounds
            yield from (min(self.images, run - begun) for begun in range(0, run, self.images))

    def round_of(self, unit: Unit, images: int) -> int:
        """The round of a unit, from 0, in a shard of so many images."""
        return ((unit.start + 1) * self.rounds - 1) // images


def price(cell: "Cell") -> float:
    """Of one image, roughly: a forward pass is a third of a draw-gradient, and k transforms cost about k times the model."""
    cost = cell.cost
    return (cost.gradients + cost.forwards / 3) * (1 + cell.defense.k)


def by_price(cells: "Iterable[Cell]") -> "list[Cell]":
    """The cells as they are worked on: the costliest first, so that the tail is short."""
    return sorted(cells, key=lambda cell: (-price(cell), cell.name))


def planned_images(shards: Iterable[Counted], limit: int | None = None) -> dict[str, int]:
    """How many images of each shard are attacked: the first `limit` in the order of the shards."""
    found, left = {}, limit
    for shard in shards:
        found[shard.name] = shard.images if left is None else min(shard.images, left)
        left = None if left is None else left - found[shard.name]
    return found


def units(cells: "Iterable[Cell]", images: Mapping[str, int], cuts: Mapping[str, Cut]) -> Iterator[Unit]:
    """Every unit of a campaign in the order of the work: cell by cell, and all shards of a cell at an even pace, so that what
    is done of a cell is as good as a sample of the whole. `images` of each shard, `cuts` of each cell."""
    for cell in by_price(cells):
        cut, found = cuts[cell.name], []
        for place, (shard, count) in enumerate(images.items()):
            start = 0
            for length in cut.lengths(shard, count):
                unit = Unit(cell.name, shard, start, start + length)
                found.append((cut.round_of(unit, count), start / count, place, unit))
                start += length
        found.sort(key=lambda entry: entry[:3])
        yield from (unit for *_, unit in found)
