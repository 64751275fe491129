"""Say where two cells differ: in which images, and in which classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.analysis.comparison.paired import of_shares
from pipeline.analysis.comparison.same_images import Pairs
from pipeline.analysis.images import split
from pipeline.scoring.holm import holm

FIELDS = ("both", "first_only", "second_only", "neither")
"""The fields of the 2 x 2: where which of the two is right."""

FIGURES = ("images", "first", "second", "difference", "low", "high", "p_value")
"""The columns of a line that compares some images: those of `Comparison` of the same names."""


def changed(pairs: Pairs, value: str = "adv") -> pd.DataFrame:
    """Return the images that changed sides, those with the greatest difference first.

    value  the column that is compared: `adv` or `clean`
    Columns: `shard`, `image_key`, `label`, `first` and `second` (shares, in [0, 1]), `right`: first_only or second_only.
    """
    one, two = pairs.first[value].to_numpy(), pairs.second[value].to_numpy()
    place = np.flatnonzero((one > 0.5) != (two > 0.5))
    parts = pc.split_pattern(pairs.names.take(pa.array(place)), "/", max_splits=1)
    names = {name: pd.arrays.ArrowExtensionArray(pc.list_element(parts, i)) for i, name in enumerate(("shard", "image_key"))}
    frame = pd.DataFrame(names).assign(label=pairs.label[place], first=one[place], second=two[place])
    frame["right"] = np.where(frame["first"] > 0.5, "first_only", "second_only")
    return _by(frame, (frame["first"] - frame["second"]).abs() * -1, ["shard", "image_key"])


def examples(pairs: Pairs, most: int) -> dict[str, list[tuple[str, str]]]:
    """Return the shard and key of some images of each of FIELDS, at most `most`: those that differ most, else by name."""
    found = changed(pairs)
    out = {
        field: list(found.loc[found["right"] == field, ["shard", "image_key"]].head(most).itertuples(index=False, name=None))
        for field in FIELDS[1:3]
    }
    right = {"both": np.True_, "neither": np.False_}
    one, two = ((side["adv"] > 0.5).to_numpy() for side in (pairs.first, pairs.second))
    for field, wanted in right.items():
        place = np.flatnonzero((one == wanted) & (two == wanted))[:most]
        out[field] = sorted(map(split, pairs.names.take(pa.array(place)).to_pylist()))
    return {field: out[field] for field in FIELDS}


def classes(pairs: Pairs, names: Sequence[str] = ()) -> pd.DataFrame:
    """Return the attacked accuracies of each class, the class with the least likely difference first.

    names  the names of the classes by label; default: not known
    Columns: `label`, `class` (None where it has no name), FIGURES as in `Comparison`, and `p_holm`: the p-value corrected for
    the number of classes (Holm 1979). The intervals are of each class alone.
    """
    order = np.argsort(pairs.label, kind="stable")
    labels, begins = np.unique(pairs.label[order], return_index=True)
    sides = [np.split(side["adv"].to_numpy()[order], begins[1:]) for side in (pairs.first, pairs.second)]
    rows = [{"label": int(label), "class": _name(names, int(label))} | figures(*parts)
            for label, *parts in zip(labels, *sides, strict=True)]  # fmt: skip
    return corrected(rows, ["label", "class"], "label")


def figures(first: Any, second: Any) -> dict[str, Any]:
    """Return FIGURES of some images; `first` and `second` (images,) in [0, 1], at least one."""
    found = of_shares(first, second)
    assert found is not None, "a group has images"
    return {name: getattr(found, name) for name in FIGURES}


def corrected(rows: Sequence[dict[str, Any]], heads: Sequence[str], order: str) -> pd.DataFrame:
    """Return lines with FIGURES as a frame with `p_holm`, the least likely difference first, then by the column `order`."""
    frame = pd.DataFrame(rows, columns=[*heads, *FIGURES])
    frame["p_holm"] = holm(frame["p_value"].to_numpy(np.float64))
    return _by(frame, frame["p_value"], [order])


def _by(frame: pd.DataFrame, first: Any, then: list[str]) -> pd.DataFrame:
    """Return a frame sorted by a column (lines,), and where that is equal by others of its own."""
    return frame.assign(_first=first).sort_values(["_first", *then]).drop(columns="_first").reset_index(drop=True)


def _name(names: Sequence[str], label: int) -> str | None:
    return names[label] if 0 <= label < len(names) else None
