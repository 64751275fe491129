"""Find one image in every cell that has it, with the classes that each draw said, which only the files of rows hold."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadInput, StorageError
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.store import rows
from pipeline.store.layout import Store
from pipeline.view.rows.scored import LONGEST, cut
from pipeline.view.watched import Watched

LISTS = ("clean_top5", "adv_top5", "clean_mean_top5", "adv_mean_top5")
"""The classes of each draw, and of the mean probability; null where the file of the row is gone."""

CELLS = 10_000
"""The most rows of an image."""

Row = dict[str, Any]


def image(watched: Watched, shard: str, key: str) -> dict[str, Any]:
    """Return `rows`, one a cell with all columns and LISTS, `label_name`, and the `names` of all classes in it by label.

    shard, key  as the table of rows shows them. Raises BadInput for an image that the store lacks.
    """
    asked = f"SELECT * EXCLUDE (place) FROM rows WHERE image_key = ? AND shard = ? ORDER BY place LIMIT {CELLS}"
    here = watched.database.table(asked, [key, shard]).to_pylist()
    if not here:
        raise BadInput(f"the store holds no image {cut(key)!r} of shard {cut(shard)!r}")
    lists = map_ordered(lambda row: stored(watched, row["cell"], shard, key, LISTS), here, 4)
    found = [row | (own or dict.fromkeys(LISTS)) for row, own in zip(here, lists, strict=True)]
    classes = {at for row in found for name in LISTS for at in _flat(row[name])} | {row["label"] for row in found}
    known = watched.reading.names
    names = {at: known[at] for at in sorted(classes - {None}) if 0 <= at < len(known)}
    return {"rows": found, "label_name": found[0]["label_name"], "names": names}


def stored(watched: Watched, cell: str, shard: str, key: str, columns: Sequence[str]) -> Row | None:
    """Return some columns of an image's row in a cell, from the file of its unit; None where either is not there."""
    asked = "SELECT unit FROM rows WHERE image_key = ? AND shard = ? AND cell = ? LIMIT 1"
    units = watched.database.table(asked, [key, shard, cell])["unit"].to_pylist()
    seen = watched.reading.cells.get(cell)
    entry = seen.units.get(units[0]) if seen and units else None
    if entry is None:
        return None
    store = Store(watched.url, urls.ANSWER_SECONDS)
    wanted = list(dict.fromkeys([*rows.IMAGE, *columns]))
    try:
        with store.open(entry.name) as file:
            for batch in rows.read(file, urls.join(store.url, entry.name), wanted):
                if found := _of_image(pa.Table.from_batches([batch]), shard, key):
                    return {name: found[name] for name in columns}
    except (BadInput, StorageError, FileNotFoundError):
        return None  # what is wrong with the store, its next reading says
    return None


def _of_image(found: pa.Table, shard: str, key: str) -> Row | None:
    """Return the row of an image in a table, whose key may have been cut."""
    keys = found["image_key"].cast(pa.string())
    same = pc.equal(keys, key) if len(key) <= LONGEST else pc.greater(pc.utf8_length(keys), LONGEST)
    for candidate in found.filter(pc.and_(same, pc.equal(found["shard"].cast(pa.string()), shard))).to_pylist():
        if cut(candidate["image_key"]) == key:
            return candidate
    return None


def _flat(lists: Any) -> list[Any]:
    """Return the classes in a list of classes, or in one of lists."""
    return [at for of in lists or () for at in (of if isinstance(of, list) else [of])]
