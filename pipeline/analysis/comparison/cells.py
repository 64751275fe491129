"""Compare two cells of one store or of two: the answer with all that it rests on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.comparison import details, same_images, settings, text
from pipeline.analysis.comparison.measured import COSTS, VALUES, Measured, read, with_rows
from pipeline.analysis.comparison.paired import Comparison, of_shares
from pipeline.analysis.comparison.parts import parts
from pipeline.analysis.comparison.same_images import Pairs, joined
from pipeline.analysis.comparison.settings import Setting
from pipeline.analysis.comparison.sides import Side, matched
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.scoring.holm import holm
from pipeline.scoring.intervals import rate
from pipeline.scoring.rules import RULES

LISTED = 1000
"""Images that `as_dict` lists of each field of the 2 x 2."""


@dataclass(frozen=True, eq=False)
class CellComparison:
    """Hold how a second cell differs from a first one, on the images that both attacked, under one decision rule.

    first, second   the two cells and their images
    rule, top       the decision rule, and how many of its classes may hold the label: 1 or 5
    pairs           the images that both attacked
    Every difference is first - second, in [-1, 1]. All intervals are 95 % over images. Printed, it is tables.
    """

    first: Measured
    second: Measured
    rule: str
    top: int
    pairs: Pairs

    @cached_property
    def found(self) -> dict[str, Comparison]:
        """Return the comparison of each of VALUES: `adv`, `clean`, and `target_hit` where both attacks have targets."""
        out = {}
        for value in VALUES:
            one, two = (side[value].to_numpy() for side in (self.pairs.first, self.pairs.second))
            known = ~np.isnan(one) & ~np.isnan(two)
            if compared := of_shares(one[known], two[known]):
                out[value] = compared
        return out

    @property
    def adv(self) -> Comparison:
        """Return the comparison of the attacked accuracies."""
        return self.found["adv"]

    @cached_property
    def costs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return what an image cost in the first and in the second, the mean over the images compared.

        `draw_gradients`, `forwards` (draws judged without a gradient), `seconds` (of a device).
        """
        one, two = ({name: float(side[name].mean()) for name in COSTS} for side in (self.pairs.first, self.pairs.second))
        return one, two

    @cached_property
    def settings(self) -> list[Setting]:
        """Return the settings, versions and machines in which the cells differ."""
        return settings.settings(self.first, self.second)

    @cached_property
    def warnings(self) -> list[str]:
        """Return what a reader must know before believing the difference, a line each."""
        found = settings.remarks(self.first, self.second, self.settings, self.rule)
        return [*found, *same_images.remarks(self.first, self.second, self.pairs)]

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Return the differences class by class, as `details.classes` does; where the stores name none, without names."""
        names = self.first.job.campaign.data.names or self.second.job.campaign.data.names
        return details.classes(self.pairs, names)

    @cached_property
    def parts(self) -> pd.DataFrame:
        """Return the differences for each part of the defense, as `pipeline.analysis.comparison.parts.parts` does.

        It reads the classes of every draw: minutes for a million images.
        """
        return parts(self.first, self.second, self.pairs)

    @cached_property
    def changed(self) -> pd.DataFrame:
        """Return the images that changed sides, as `details.changed` does."""
        return details.changed(self.pairs)

    def frame(self) -> pd.DataFrame:
        """Return one line for each of `adv`, `clean` and `target_hit`.

        Columns: `value`, `images`, `first` and `second` each with `_low` and `_high` (in [0, 1]), `difference`, `low`, `high`,
        `p_value`, `test`.
        """
        rows = []
        for value, found in self.found.items():
            row: dict[str, Any] = {"value": value, "images": found.images}
            for name in ("first", "second"):
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), self.rate(name, value), strict=True))
            rows.append(row | {name: getattr(found, name) for name in ("difference", "low", "high", "p_value", "test")})
        return pd.DataFrame(rows)

    def rate(self, side: str, value: str = "adv") -> tuple[float, float, float]:
        """Return a rate over the images compared, with the ends of its interval; `side` is first or second."""
        shares = getattr(self.pairs, side)[value].to_numpy()
        found = rate(shares[~np.isnan(shares)])
        assert found is not None, "images are compared"
        return found.value, found.low, found.high

    def as_dict(self, listed: int = LISTED, with_parts: bool = True) -> dict[str, Any]:
        """Return everything as plain values: rates in [0, 1], None for what is missing, costs for an image.

        listed      images that are named of each field of the 2 x 2
        with_parts  whether to read the draws of the parts
        """
        compared = {value: _plain(found) for value, found in self.found.items()}
        out: dict[str, Any] = {"problem": None, "rule": self.rule, "top": self.top}
        out |= {side: self._side(side) for side in ("first", "second")} | compared["adv"]
        out |= {value: compared.get(value) for value in ("clean", "target_hit")}
        out["changed"] = {
            field: [list(name) for name in names] for field, names in details.examples(self.pairs, listed).items()
        }
        out["classes"] = _records(self.classes.rename(columns={"class": "name"}))
        out["parts"] = _records(self.parts) if with_parts else []
        out["settings"] = [setting._asdict() for setting in self.settings]
        return out | {"warnings": self.warnings}

    def _side(self, name: str) -> dict[str, Any]:
        """Return one side as plain values."""
        side: Measured = getattr(self, name)
        out: dict[str, Any] = {
            "store": side.side.store,
            "cell": side.side.cell,
            "images": len(side.names),
            "failed": side.failed,
        }
        out["left_out"] = len(side.names) - len(self.pairs)
        for value, prefix in (("adv", ""), ("clean", "clean_")):
            out |= dict(zip((f"{prefix}rate", f"{prefix}low", f"{prefix}high"), self.rate(name, value), strict=True))
        return out | {"cost": self.costs[name == "second"]}

    def __str__(self) -> str:
        """Return the tables of `barrage compare` as plain text."""
        return text.plain(text.of_pair(self))

    def markdown(self) -> str:
        """Return the same tables as Markdown."""
        return text.markdown(text.of_pair(self))


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Hold several comparisons of cells, and a line for each cell that has no partner; print it to see.

    lacking   the cells of the baseline that another store has no rows of, by the place where they lack
    """

    each: Sequence[CellComparison]
    notes: Sequence[str] = ()
    lacking: Sequence[Side] = ()

    def frame(self) -> pd.DataFrame:
        """Return the attacked accuracies, a comparison a line.

        Columns: `first_store`, `first_cell`, `second_store`, `second_cell`, those of `CellComparison.frame` from `images` on,
        and `p_holm`: the p-value corrected for the number of lines (Holm 1979).
        """
        rows = []
        for one in self.each:
            names = {f"{side}_{part}": getattr(getattr(one, side).side, part)
                     for side in ("first", "second") for part in ("store", "cell")}  # fmt: skip
            rows.append(names | one.frame().iloc[0].drop("value").to_dict())
        frame = pd.DataFrame(rows)
        return frame.assign(p_holm=holm(frame["p_value"].to_numpy(np.float64)))

    def as_dict(self, listed: int = LISTED, with_parts: bool = True) -> dict[str, Any]:
        """Return everything as plain values: `comparisons`, each as `CellComparison.as_dict` says, and `notes`."""
        return {"comparisons": [one.as_dict(listed, with_parts) for one in self.each], "notes": [*self.notes]}

    def __str__(self) -> str:
        """Return one table of all comparisons; of a single one, all its tables."""
        return text.plain(text.of_all(self))

    def markdown(self) -> str:
        """Return the same as Markdown."""
        return text.markdown(text.of_all(self))


def comparison(first: str | Side, second: str | Side, rule: str = "single", top: int = 1) -> CellComparison:
    """Compare two cells on the images that both attacked: paired differences, who changed sides, cost, settings.

    first, second   a store with one cell, or a cell of one as "stores/demo::lite0-bart5-pgd" (or `Side`, for any place);
                    where only one names a cell, the cell of that name in the other
    rule            a decision rule, such as single, vote, mean or persistent
    top             1 or 5: the label must be among the first `top` classes
    Raises BadInput where the two are several cells, have no image in common, or other images or labels under the same names,
    and as `analysis.scores` does.
    """
    found = comparisons(first, second, rule=rule, top=top)
    if len(found.each) > 1:
        names = ", ".join(str(one.first.side.cell) for one in found.each[:8])
        raise BadInput(f"{first} and {second} have {len(found.each)} cells in common ({names}): name one, as STORE::CELL")
    return found.each[0]


def comparisons(
    baseline: str | Side, *others: str | Side, cells: Collection[str] = (), rule: str = "single", top: int = 1
) -> Comparisons:
    """Compare a baseline with several cells or stores, cell by cell: each as `comparison` does.

    baseline, others   stores or cells, as in `comparison`; of one store alone, the first of `cells` is the baseline
    cells              only these; default: all whose names both stores have
    Raises BadInput as `comparison` does.
    """
    if rule not in RULES or top not in (1, 5):
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(RULES)}, and 1 or 5")
    jobs = dict[str, Job]()

    def job(store: str) -> Job:
        if store not in jobs:
            jobs[store] = opened(store)
        return jobs[store]

    sides = [Side.of(side) for side in (baseline, *others)]
    pairs, notes, lacking = matched(sides, lambda store: with_rows(job(store)), cells)
    found, kept = list[CellComparison](), dict[Side, Measured]()
    for pair in pairs:
        kept = {side: kept.get(side) or read(job(side.store), str(side.cell), rule, top) for side in pair}
        first, second = (kept[side] for side in pair)
        found.append(CellComparison(first, second, rule, top, joined(first, second)))
    return Comparisons(found, notes, lacking)


def _plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values; `more_right` are the images on which the first, and the second, is more right."""
    names = ("images", "difference", "low", "high", "p_value", "test")
    out = {name: getattr(found, name) for name in names}
    return out | {"table": [list(row) for row in found.table], "more_right": [found.first_only, found.second_only]}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a frame as plain values, None for what is missing."""
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
