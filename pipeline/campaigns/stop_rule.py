"""The stop rule: a cell ends once the interval of its attacked accuracy is narrow enough.

A cell with a stop rule is worked on in rounds. Each round takes the same share of every shard, of images in the order that the
seed gives (`pipeline.data.order`), so the rounds up to any are a stratified sample of the whole. After each round that brings the
images to `minimum_images` or more, but the last, there is a look: the interval of the rows so far decides whether the next
round is begun, and no unit of a later round is handed out before (`pipeline.campaigns.release`). So the places of the looks are fixed
beforehand, any run of the campaign stops after the same round, however fast and wide it is, and all rows of a store count.

looks/<cell>/<round>.json       what was seen: whoever writes it first has decided

What stopping costs in honesty: a cell that is looked at again and again stops rather when its interval happens to be narrow.
docs/units.md says how often the 95 % interval at the stop covers the truth. As in every table images are the clusters; that
each shard gives its share makes the interval, if anything, too wide.

A unit that was given up does not hold up its cell: the look is taken without it and names it.
"""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from pipeline.config.campaign import Stop
from pipeline.planning.units import Cut
from pipeline.scoring.intervals import Rate, rate
from pipeline.scoring.rules import RULES, of_row
from pipeline.store.layout import Store
from pipeline.store.rows import results

_COLUMNS = ("unit", "status", "label", "evaluation_draws")


class Look(BaseModel):
    """The attacked accuracy after a round, over the images so far with their 95 % interval; None of no images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: str
    round: int
    rounds: int
    rate: Rate | None
    without: tuple[str, ...] = ()
    rule_version: int = 1
    """Of the decision rule whose accuracy this is."""

    def ends(self, stop: Stop) -> bool:
        """Whether the cell has been seen often enough."""
        found = self.rate
        return found is not None and found.images >= stop.minimum_images and (found.high - found.low) / 2 <= stop.interval


def due(stop: Stop, cut: Cut, images: Mapping[str, int]) -> list[int]:
    """The rounds after which there is a look; `images` of each shard."""
    seen = [sum(count * (number + 1) // cut.rounds for count in images.values()) for number in range(cut.rounds - 1)]
    return [number for number, count in enumerate(seen) if count >= stop.minimum_images]


def taken(store: Store, cell: str, rounds: Iterable[int]) -> list[Look]:
    """The looks at a cell that were taken, of those that are due."""
    found = []
    for number in rounds:
        data = store.read(_name(cell, number))
        if data is None:
            break
        found.append(Look.model_validate_json(data))
    return found


def seen(url: str, cell: str, number: int, cut: Cut, rule: str, units: Iterable[str]) -> Look:
    """What the rows of these units, those up to a round, say of a cell."""
    needed = [name.format("adv") for name in RULES[rule].columns]
    wanted = set(units)
    table = results(url, list(dict.fromkeys([*_COLUMNS, *needed])), [cell]).to_pylist() if Store(url).files(cell) else []
    rows = [row for row in table if row["unit"] in wanted]
    found = rate([of_row(row, rule, "adv", 1) for row in rows if row["status"] == "ok"])
    without = tuple(sorted(wanted - {row["unit"] for row in rows}))
    return Look(cell=cell, round=number, rounds=cut.rounds, rate=found, without=without, rule_version=RULES.version(rule))


def write_down(store: Store, look: Look) -> None:
    """Decides by a look, unless somebody else was faster: then his holds."""
    store.create(_name(look.cell, look.round), look.model_dump_json().encode())


def _name(cell: str, number: int) -> str:
    return f"looks/{cell}/{number:02d}.json"
