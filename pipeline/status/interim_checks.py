"""Read the interim checks of a store, which end cells early, and say how much of each cell was to be attacked: without torch.

`pipeline.campaigns.stop_rule` makes them and tells what they are for.

looks/<cell>/<round>.json       an interim check; the first that is written decides
"""

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import BadInput
from pipeline.planning.units import Cut
from pipeline.scoring.intervals import Rate
from pipeline.scoring.summaries import Scope
from pipeline.storage import urls
from pipeline.store import cuts, formats, planned_cells
from pipeline.store.layout import Store

ROUNDING = 1e-9
"""Difference of rates that another machine may make."""


class Ending(Protocol):
    """Describe when a stop rule ends a cell; see `pipeline.config.campaign.Stop`."""

    @property
    def interval(self) -> float:
        """Return half the width of the interval that is narrow enough, in [0, 1]."""

    @property
    def minimum_images(self) -> int:
        """Return the images that a check needs at least."""


class InterimCheck(BaseModel):
    """Hold the attacked accuracy of a cell after a round, in [0, 1], over the images so far, with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: str
    round: int
    rounds: int
    rate: Rate | None
    """None if there are no images."""
    without: tuple[str, ...] = ()
    """Names of units that had no rows."""
    rule_version: int = 1
    """Version of the decision rule whose accuracy this is."""
    interval_version: int = 1
    """Version of the interval. A decision by an earlier one stands."""

    def agrees(self, now: "InterimCheck") -> bool:
        """Return whether the rows say the same `now`, up to rounding; without the ends if the interval has another version."""
        place = ("cell", "round", "rounds")
        if any(getattr(self, name) != getattr(now, name) for name in place) or now.without:
            return False
        if self.rate is None or now.rate is None:
            return self.rate is now.rate
        compared = ("images", "value", "low", "high") if self.interval_version == now.interval_version else ("images", "value")
        return all(math.isclose(getattr(self.rate, name), getattr(now.rate, name), abs_tol=ROUNDING) for name in compared)

    def ends(self, stop: Ending) -> bool:
        """Return whether the cell has enough images, by its stop rule."""
        rate = self.rate
        return rate is not None and rate.images >= stop.minimum_images and (rate.high - rate.low) / 2 <= stop.interval


def rounds_to_check(stop: Ending, cut: Cut, images: Mapping[str, int]) -> list[int]:
    """Return the rounds of a cell that an interim check follows, ascending from 0; `images` of each shard."""
    seen = [sum(count * (number + 1) // cut.rounds for count in images.values()) for number in range(cut.rounds - 1)]
    return [number for number, count in enumerate(seen) if count >= stop.minimum_images]


def read(store: Store, cell: str, rounds: Iterable[int]) -> list[InterimCheck]:
    """Return the interim checks of a cell in the store, for the first of these rounds up to one that has none yet."""
    checks = []
    for number in rounds:
        data = store.read(file_of(cell, number))
        if data is None:
            break
        checks.append(_parsed(urls.join(store.url, file_of(cell, number)), data))
    return checks


def _parsed(path: str, data: bytes) -> InterimCheck:
    """Return the interim check of a file. Raises BadInput for a later format, and a file that is damaged."""
    content = formats.of_json(path, data)
    try:
        return InterimCheck.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path} is no interim check ({where}: {first['msg']}): restore it") from None


def file_of(cell: str, number: int) -> str:
    """Return the name of the file of an interim check."""
    return f"looks/{cell}/{number:02d}.json"


def scopes(url: str) -> dict[str, Scope]:
    """Return how many images each cell of a store was to have, and whether a stop rule ended it.

    Raises BadInput if there is no campaign, or its files are damaged.
    """
    store = Store(url, urls.ANSWER_SECONDS)
    plan = planned_cells.plan(store)
    images = sum(plan.images.values())
    if plan.stop is None:
        return {cell: Scope(images, False) for cell in plan.cells}
    stop, cut = plan.stop, cuts.read(store, plan.cells)
    rounds = {cell: rounds_to_check(stop, cut[cell], plan.images) if cell in cut else [] for cell in plan.cells}
    return {cell: Scope(images, any(check.ends(stop) for check in read(store, cell, rounds[cell]))) for cell in plan.cells}
