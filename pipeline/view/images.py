"""Find one image in every cell that has it, with the classes that each draw said, which only the files of rows hold."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadInput, StorageError
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.store import rows
from pipeline.store.layout import Store
from pipeline.view.scored import LONGEST, cut
from pipeline.view.watched import Watched

LISTS = ("clean_top5", "adv_top5", "clean_mean_top5", "adv_mean_top5")
"""The classes of each draw, and of the mean probability; null where the file of the row is gone."""

Row = dict[str, Any]


def image(watched: Watched, shard: str, key: str) -> dict[str, Any]:
    """Return `rows`, one a cell with all columns and LISTS, `label_name`, and the `names` of all classes in it by label.

    shard, key  as the table of rows shows them. Raises BadInput for an image that the store lacks.
    """
    here = _rows(watched, shard, key)
    lists = map_ordered(partial(_lists, watched), here, 4)
    found = [own | of | {"image_key": key} for own, of in zip(here, lists, strict=True)]
    classes = {at for row in found for name in LISTS for at in _flat(row[name])} | {row["label"] for row in found}
    known = watched.reading.names
    names = {at: known[at] for at in sorted(classes - {None}) if 0 <= at < len(known)}
    return {"rows": found, "label_name": found[0]["label_name"], "names": names}


def row(watched: Watched, cell: str, shard: str, key: str) -> Row:
    """Return the row of an image in one cell, with its whole key. Raises BadInput for one that the store lacks."""
    for found in _rows(watched, shard, key):
        if found["cell"] == cell:
            return found if len(key) <= LONGEST else found | _lists(watched, found)
    raise BadInput(f"cell {cut(cell)!r} holds no image {cut(key)!r} of shard {cut(shard)!r}")


def _rows(watched: Watched, shard: str, key: str) -> list[Row]:
    asked = "SELECT * EXCLUDE (place) FROM rows WHERE image_key = ? AND shard = ? ORDER BY place LIMIT 10000"
    found = watched.database.table(asked, [key, shard]).to_pylist()
    if not found:
        raise BadInput(f"the store holds no image {cut(key)!r} of shard {cut(shard)!r}")
    return found


def _lists(watched: Watched, row: Mapping[str, Any]) -> Row:
    """Return LISTS of a row and its whole key, from the file of its unit; nothing but nulls where that is gone or damaged."""
    seen = watched.reading.cells.get(row["cell"])
    entry = seen.units.get(row["unit"]) if seen else None
    nothing: Row = dict.fromkeys(LISTS)
    if entry is None:
        return nothing
    store = Store(watched.url, urls.ANSWER_SECONDS)
    try:
        with store.open(entry.name) as file:
            for batch in rows.read(file, urls.join(store.url, entry.name), [*rows.IMAGE, *LISTS]):
                found = _of_image(pa.Table.from_batches([batch]), row["shard"], row["image_key"])
                if found:
                    return {name: found[name] for name in ("image_key", *LISTS)}
    except (BadInput, StorageError, FileNotFoundError):
        pass
    return nothing


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
