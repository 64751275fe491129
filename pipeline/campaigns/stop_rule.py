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

from collections.abc import Iterable

from pipeline.planning.units import Cut
from pipeline.scoring.intervals import VERSION, rate
from pipeline.scoring.rules import RULES, of_row
from pipeline.status.interim_checks import InterimCheck, file_of
from pipeline.store import committed, formats
from pipeline.store.layout import Store
from pipeline.store.rows import results

_COLUMNS = ("unit", "status", "label", "evaluation_draws")


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
    store.create(file_of(check.cell, check.round), formats.to_json(check.model_dump(mode="json")))
