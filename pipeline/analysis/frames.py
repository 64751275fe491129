"""Read rows of stores as pandas frames."""

import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.scoring import rules, summaries
from pipeline.store.rows import batches
from pipeline.store.schema import SCHEMA

Stores = str | Sequence[str]
"""One store or several: folders or URLs."""

SETTINGS = (
    "cell", "model", "defense", "k", "attack", "policy", "mode", "norm", "eps", "steps", "eot_draws", "evaluation_draws",
)  # fmt: skip
"""The columns of rows that tell cells apart."""

IMAGE = ("shard", "image_key")
"""The columns that name an image: several shards may hold the same key."""


def image_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns that name an image in a frame; one that release 0.1 made lacks the shard."""
    return [name for name in IMAGE if name in frame]


_KEPT = (
    *IMAGE, "label", "target", *SETTINGS, "status", "target_hits", "first_break", "linf", "l2", "grad_evals",
    "forward_evals", "seconds",
)  # fmt: skip


def results(stores: Stores, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return the committed rows, with the columns of `pipeline.store.schema` after the column `store`; strings are categories.

    stores   one store or several
    columns  only these; default: all. Lists of classes take most of the memory
    cells    only these; default: all
    Raises BadInput for a store without rows, or of another version, and for a cell that it lacks.
    """
    return _frame([rows.add_column(0, "store", _constant(url, len(rows))) for url, rows in each(stores, columns, cells)])


def not_attacked(stores: Stores, columns: Sequence[str], cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return the committed rows of images that could not be attacked; only these are held in memory.

    columns  only these columns of `pipeline.store.schema`, among them `status`; texts are objects, but `status` and `error`
             categories
    cells    only these; default: all
    Raises BadInput as `results` does.
    """
    wanted = pa.schema([SCHEMA.field(name) for name in columns])
    bad = [rules.failed(rows).cast(wanted) for _, rows in each(stores, columns, cells)]
    return (
        pa.concat_tables([wanted.empty_table(), *bad])
        .to_pandas()
        .astype({name: "category" for name in ("status", "error") if name in columns})
    )


def scores(stores: Stores, rule: str = "single", top: int = 1, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return one line per image and cell: how right the image is under a decision rule, and the settings of its cell.

    rule     a name of `pipeline.scoring.rules.RULES`, such as single, vote, mean or persistent
    top      1 or 5: the label must be among the first `top` classes
    Columns: `store`, `shard`, `image_key`, `label`, `target`, the settings of the cell, `status`, `clean` and `adv` (in [0, 1];
    NaN for an image that failed), `target_hit` (share of draws that say the target; NaN without a target), `first_break`,
    `linf`, `l2`, `grad_evals`, `forward_evals`, `seconds` (of a device). Raises BadInput as `results` does.
    """
    if rule not in rules.RULES or top not in (1, 5):
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(rules.RULES)}, and 1 or 5")
    wanted = list(dict.fromkeys([*_KEPT, *rules.columns([rule])]))
    batches_of_rows = each(stores, wanted, cells)
    tables = list(map_ordered(lambda pair: _scored(pair[1], pair[0], rule, top), batches_of_rows, os.cpu_count() or 1))
    frame = _frame(tables)
    frame = frame.astype(dict.fromkeys(("label", "target", "first_break"), "Int32"))
    return frame.assign(cell=frame["cell"].cat.reorder_categories(_in_order(frame)))


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """Return tables as one frame; empties the list `tables`, so that memory holds ten million rows once, not twice."""
    rows = pa.concat_tables(tables, promote_options="default")
    tables.clear()
    for place, name in enumerate(rows.column_names):
        if pa.types.is_dictionary(rows[name].type):  # as one array, so that pandas need not merge dictionaries
            rows = rows.set_column(place, name, rows[name].combine_chunks())
    return rows.to_pandas(split_blocks=True, self_destruct=True)


def _in_order(frame: pd.DataFrame) -> list[str]:
    """Return the names of the cells by model, k and attack, as in a table: k = 10 after k = 5."""
    first = frame.drop_duplicates("cell").astype({"k": int})
    return list(first.sort_values(["model", "k", "attack", "cell"])["cell"])


def table(stores: Stores, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return clean and attacked accuracy of every cell under every decision rule: the lines of `barrage table` and `store`."""
    found, every = [], rules.RULES.working()
    for url in listed(stores):
        lines = summaries.lines(batches(url, summaries.columns(every), cells), every)
        found += [{"store": url, **summaries.as_dict(line)} for line in lines]
    return pd.DataFrame(found)


def listed(stores: Stores) -> list[str]:
    """Return one store or several as a list."""
    return [stores] if isinstance(stores, str) else list(stores)


def each(stores: Stores, columns: Sequence[str] | None, cells: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Yield batches of rows, each with the store that holds it."""
    for url in listed(stores):
        for rows in batches(url, columns, cells):
            yield url, rows


def _constant(text: str, count: int) -> pa.Array:
    """Return a column with the same text in every row, stored once."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])


def _scored(rows: pa.Table, url: str, rule: str, top: int) -> pa.Table:
    """Return the columns of `scores`; failed images come after the others."""
    good, bad = rules.attacked(rows), rules.failed(rows)
    both = pa.concat_tables([good, bad])
    nothing = pa.nulls(len(bad), pa.float64())
    shares = {side: rules.RULES[rule].score(good, side, top) for side in ("clean", "adv")}
    shares["target_hit"] = rules.column(good, "target_hits") / rules.column(good, "evaluation_draws")
    columns = {"store": _constant(url, len(rows)), **{name: both[name] for name in _KEPT if name != "target_hits"}}
    columns |= {name: pa.concat_arrays([pa.array(values, from_pandas=True), nothing]) for name, values in shares.items()}
    return pa.table(columns)
