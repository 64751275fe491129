"""Apply the stop rule: a cell ends once the interval of its attacked accuracy is narrow enough.

A cell with a stop rule is worked on in rounds. Each round takes the same share of every shard, of images in the order that the
seed gives (`pipeline.data.order`), so the first rounds together are a stratified sample of the whole. An interim check follows
each round that brings the images to `minimum_images` or more, but for the last round: the interval of the rows so far decides
whether the next round is begun. No unit of a later round is handed out before (`pipeline.campaigns.next_units`). So the
rounds with a check are fixed beforehand, every run of the campaign stops after the same round, however fast it is and however
many workers it has, and all rows of a store count.

looks/<cell>/<round>.json       an interim check; the first that is written decides

Stopping has a price: a cell that is checked again and again stops more often when its interval happens to be narrow.
docs/intervals.md says how often the 95 % interval at the stop covers the truth. As in every table, images are the clusters;
that each shard gives its share makes the interval, if anything, too wide.

A unit that was given up does not hold up its cell: the check is made without it and names it.
"""

import math
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.config.campaign import Stop
from pipeline.errors import BadInput
from pipeline.planning.units import Cut
from pipeline.scoring.intervals import VERSION, Rate, rate
from pipeline.scoring.rules import RULES, of_row
from pipeline.storage import urls
from pipeline.store import committed, formats
from pipeline.store.layout import Store
from pipeline.store.rows import results

ROUNDING = 1e-9
"""Difference of rates that another machine may make."""

_COLUMNS = ("unit", "status", "label", "evaluation_draws")


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

    def ends(self, stop: Stop) -> bool:
        """Return whether the cell has enough images, by its stop rule."""
        rate = self.rate
        return rate is not None and rate.images >= stop.minimum_images and (rate.high - rate.low) / 2 <= stop.interval


def rounds_to_check(stop: Stop, cut: Cut, images: Mapping[str, int]) -> list[int]:
    """Return the rounds of a cell that an interim check follows, ascending from 0; `images` of each shard."""
    seen = [sum(count * (number + 1) // cut.rounds for count in images.values()) for number in range(cut.rounds - 1)]
    return [number for number, count in enumerate(seen) if count >= stop.minimum_images]


def read(store: Store, cell: str, rounds: Iterable[int]) -> list[InterimCheck]:
    """Return the interim checks of a cell in the store, for the first of these rounds up to one that has none yet."""
    checks = []
    for number in rounds:
        data = store.read(_file(cell, number))
        if data is None:
            break
        checks.append(_parsed(urls.join(store.url, _file(cell, number)), data))
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


def compute(url: str, cell: str, number: int, cut: Cut, rule: str, units: Iterable[str]) -> InterimCheck:
    """Return the interim check of a cell after round `number`, from the rows of these units: all up to that round."""
    needed = [name.format("adv") for name in RULES[rule].columns]
    wanted = set(units)
    begun = bool(committed.sources_of(Store(url), cell))
    table = results(url, list(dict.fromkeys([*_COLUMNS, *needed])), [cell]).to_pylist() if begun else []
    rows = [row for row in table if row["unit"] in wanted]
    accuracy = rate([of_row(row, rule, "adv", 1) for row in rows if row["status"] == "ok"])
    without = tuple(sorted(wanted - {row["unit"] for row in rows}))
    return InterimCheck(
        cell=cell, round=number, rounds=cut.rounds, rate=accuracy, without=without, rule_version=RULES.version(rule),
        interval_version=VERSION,
    )  # fmt: skip


def write(store: Store, check: InterimCheck) -> None:
    """Record an interim check; an earlier record stands."""
    store.create(_file(check.cell, check.round), formats.to_json(check.model_dump(mode="json")))


def _file(cell: str, number: int) -> str:
    return f"looks/{cell}/{number:02d}.json"
