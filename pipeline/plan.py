"""Cells x shards, cut into units. Pure: the same campaign and shards give the same units, in the same order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.campaign import Cell


class Counted(Protocol):
    """What the plan needs to know of a shard."""

    @property
    def name(self) -> str: ...
    @property
    def images(self) -> int: ...


@dataclass(frozen=True)
class Unit:
    """Images `start` to `stop` of one shard, for one cell: what is leased, retried, checkpointed and committed."""

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


def _price(cell: "Cell") -> float:
    """Of one image, roughly: a forward pass is a third of a draw-gradient, and k transforms cost about k times the model."""
    cost = cell.cost
    return (cost.gradients + cost.forwards / 3) * (1 + cell.defense.k)


def units(cells: "Iterable[Cell]", shards: Iterable[Counted], unit_images: int, limit: int | None = None) -> Iterator[Unit]:
    """Every unit of a campaign, the costliest cells first so that the tail is short."""
    shards = list(shards)
    for cell in sorted(cells, key=lambda c: (-_price(c), c.name)):
        left = limit if limit is not None else sum(shard.images for shard in shards)
        for shard in shards:
            images = min(shard.images, left)
            left -= images
            for start in range(0, images, unit_images):
                yield Unit(cell.name, shard.name, start, min(start + unit_images, images))
