"""Rows of stores as frames."""

import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.scoring import rules, summaries
from pipeline.store.rows import batches

Stores = str | Sequence[str]
"""A store, or several: folders or URLs."""

SETTINGS = (
    "cell", "model", "defense", "k", "attack", "policy", "mode", "norm", "eps", "steps", "eot_draws", "evaluation_draws",
)  # fmt: skip
"""What tells cells apart, as columns of rows."""

_KEPT = (
    "image_key", "label", "target", *SETTINGS, "status", "target_hits", "first_break", "linf", "l2", "grad_evals",
    "forward_evals", "seconds",
)  # fmt: skip


def results(stores: Stores, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pd.DataFrame:
    """The committed rows, as `pipeline.store.schema` documents them, with the column `store` in front; strings are categories.

    stores   a store, or several
    columns  only these; all unless told. Lists of classes take most of the space
    cells    only these; all unless told
    Raises BadInput for a store without rows, or of another version, and for a cell that it lacks.
    """
    return _frame([rows.add_column(0, "store", _constant(url, len(rows))) for url, rows in _each(stores, columns, cells)])


def scores(stores: Stores, rule: str = "single", top: int = 1, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One line per image and cell: how right it is under a decision rule, and what it was up against.

    rule     a name of `pipeline.scoring.rules.RULES`: single, vote, mean, persistent
    top      1 or 5: the label must be among so many classes
    Columns: `store`, `image_key`, `label`, `target`, the settings of the cell, `status`, `clean` and `adv` (in [0, 1]; NaN for
    an image that failed), `target_hit` (share of draws that say the target; NaN where untargeted), `first_break`, `linf`, `l2`,
    `grad_evals`, `forward_evals`, `seconds` (of a device). Raises BadInput as `results` does.
    """
    if rule not in rules.RULES or top not in (1, 5):
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(rules.RULES)}, and 1 or 5")
    wanted = list(dict.fromkeys([*_KEPT, *rules.columns([rule])]))
    found = list(
        map_ordered(lambda some: _scored(some[1], some[0], rule, top), _each(stores, wanted, cells), os.cpu_count() or 1)
    )
    frame = _frame(found)
    frame = frame.astype(dict.fromkeys(("label", "target", "first_break"), "Int32"))
    return frame.assign(cell=frame["cell"].cat.reorder_categories(_in_order(frame)))


def _frame(found: list[pa.Table]) -> pd.DataFrame:
    """Tables as one frame; `found` is emptied, so that ten million rows are held once, not twice."""
    rows = pa.concat_tables(found, promote_options="default")
    found.clear()
    for place, name in enumerate(rows.column_names):
        if pa.types.is_dictionary(rows[name].type):  # as one array: where dictionaries are alike, pandas has none to merge
            rows = rows.set_column(place, name, rows[name].combine_chunks())
    return rows.to_pandas(split_blocks=True, self_destruct=True)


def _in_order(frame: pd.DataFrame) -> list[str]:
    """The cells by model, k and attack, as in a table: k = 10 after k = 5."""
    first = frame.drop_duplicates("cell").astype({"k": int})
    return list(first.sort_values(["model", "k", "attack", "cell"])["cell"])


def table(stores: Stores, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Clean and attacked accuracy of every cell under every decision rule: the lines of `barrage table`, with their store."""
    found, every = [], rules.RULES.working()
    for url in listed(stores):
        lines = summaries.lines(batches(url, summaries.columns(every), cells), every)
        found += [{"store": url, **summaries.as_dict(line)} for line in lines]
    return pd.DataFrame(found)


def listed(stores: Stores) -> list[str]:
    """The stores, one or several, as a list."""
    return [stores] if isinstance(stores, str) else list(stores)


def _each(stores: Stores, columns: Sequence[str] | None, cells: Collection[str] | None) -> Iterator[tuple[str, pa.Table]]:
    for url in listed(stores):
        for rows in batches(url, columns, cells):
            yield url, rows


def _constant(text: str, count: int) -> pa.Array:
    """A column that says the same in every row, stored once."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])


def _scored(rows: pa.Table, url: str, rule: str, top: int) -> pa.Table:
    """The columns of `scores`: the failed images of the rows come after the others."""
    good, bad = rules.attacked(rows), rules.failed(rows)
    both = pa.concat_tables([good, bad])
    nothing = pa.nulls(len(bad), pa.float64())
    shares = {side: rules.RULES[rule].score(good, side, top) for side in ("clean", "adv")}
    shares["target_hit"] = rules.column(good, "target_hits") / rules.column(good, "evaluation_draws")
    columns = {"store": _constant(url, len(rows)), **{name: both[name] for name in _KEPT if name != "target_hits"}}
    columns |= {name: pa.concat_arrays([pa.array(values, from_pandas=True), nothing]) for name, values in shares.items()}
    return pa.table(columns)
