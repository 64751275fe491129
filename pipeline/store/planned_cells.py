"""Read what each cell of a campaign plans from the store's campaign.yaml, without the packages that attack.

A store holds the rows of the units that its campaign plans, and no others: `Plan` says which units these are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import yaml

from pipeline.config.yaml_loader import plain
from pipeline.data.sources.kinds import without_ending
from pipeline.errors import BadInput
from pipeline.planning.cost import weight
from pipeline.planning.units import Unit, of_name, planned_images, span
from pipeline.storage import urls
from pipeline.store import cuts, formats
from pipeline.store.layout import Store

FILE = "campaign.yaml"

DAMAGED = (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError)
"""What reading a file raises that holds something else, BadInput excepted."""


def damaged(url: str, error: Exception) -> BadInput:
    """Return what to say of a store whose file cannot be read."""
    detail = " ".join(str(error).split())[:200]
    return BadInput(f"store {url}: its {FILE} is damaged or of another program ({detail}): restore it")


def lost(store: Store) -> str:
    """Return in words that a store without a campaign holds rows: it was copied in part; empty if it holds none."""
    if not store.has_rows():
        return ""
    return f"rows but no {FILE}, so nothing tells which of them count: copy the whole store, or give another folder"


@dataclass(frozen=True)
class Planned:
    """Describe a cell: its units and images, what one image costs at most, in draws with a gradient and without, and `k`: what
    its defense costs a draw, in transforms of a barrage.
    """

    units: int
    images: int
    draw_gradients: int
    forwards: int
    k: float

    @property
    def weight(self) -> float:
        """Return what one image costs, compared with those of other cells."""
        return weight(self.draw_gradients, self.forwards, self.k)


def content_of(store: Store, url: str) -> dict[str, Any]:
    """Return what the store's campaign.yaml holds. Raises BadInput if there is no store, or one of a later format.

    Raises one of DAMAGED if the file holds something else.
    """
    data = store.read(FILE)
    if data is None:
        raise BadInput(f"store {url} holds {lost(store) or f'no {FILE}: give the folder that `barrage run` wrote to'}")
    content: dict[str, Any] = plain(data)
    return formats.intact(f"{url}/{FILE}", content)


class _Counted(NamedTuple):
    """Name a shard and its images."""

    name: str
    images: int


class Stop(NamedTuple):
    """Say when a cell ends; see `pipeline.config.campaign.Stop`."""

    interval: float
    minimum_images: int


@dataclass(frozen=True)
class Plan:
    """Hold which units a store's campaign plans.

    cells   the identity of each cell, by name
    images  how many images of each shard are to be attacked
    stop    when a cell ends early; None: never
    """

    store: Store
    cells: Mapping[str, str]
    images: Mapping[str, int]
    stop: Stop | None = None
    _spans: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def cell_of(self, unit: str) -> str:
        """Return the cell of a unit. Raises BadInput, which says what is wrong, for a name that no planned unit has."""
        found = self.named(unit)
        if found is None:
            raise BadInput(f"{FILE} plans no cell and shard of the names in it")
        if found.cell not in self._spans:
            self._spans[found.cell] = self._planned(found.cell)
        if span(found.start, found.stop) not in self._spans[found.cell].get(found.shard, ()):
            raise BadInput(f"{FILE} and {cuts.file_of(found.cell)} plan no such unit")
        return found.cell

    def named(self, unit: str) -> Unit | None:
        """Return the unit of a name, planned or not, if its cell and its shard are planned."""
        return of_name(unit, self.cells, self.images)

    def _planned(self, cell: str) -> dict[str, set[str]]:
        """Return the planned units of a cell: of each shard, the ends of their names."""
        cut = cuts.read(self.store, [cell]).get(cell)
        if cut is None:
            raise BadInput(f"{cuts.file_of(cell)}, which says how its cell is cut into units, is not there")
        stops = {shard: [0, *accumulate(cut.lengths(shard, count))] for shard, count in self.images.items()}
        return {shard: {span(*ends) for ends in pairwise(found)} for shard, found in stops.items()}


def plan(store: Store) -> Plan:
    """Return which units a store's campaign plans. Raises BadInput if there is no campaign, or its files are damaged."""
    try:
        content = content_of(store, store.url)
        cells = {str(cell): str(identity) for cell, identity in content["identity"].items()}
        counts = [_Counted(without_ending(urls.split(shard["url"])[1]), shard["images"]) for shard in content["shards"]]
        images, stop = planned_images(counts, content["campaign"]["data"].get("limit")), content["campaign"].get("stop")
        stop = Stop(float(stop["interval"]), int(stop["minimum_images"])) if stop else None
    except BadInput:
        raise
    except DAMAGED as error:
        raise damaged(store.url, error) from None
    return Plan(store, cells, images, stop)


def read(store: Store, url: str) -> tuple[str, dict[str, Planned]]:
    """Return the campaign's name and its cells. Raises BadInput if there is no store, or one that this release cannot read."""
    try:
        content = content_of(store, url)
        name, cells = content["campaign"]["name"], content.get("planned")
        if cells is not None:
            return name, {cell: Planned(**found) for cell, found in cells.items()}
    except BadInput:
        raise
    except DAMAGED as error:
        raise damaged(url, error) from None
    raise BadInput(f"store {url} was made by an earlier version: run its campaign again, which adds what is missing")
