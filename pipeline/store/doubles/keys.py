"""Check that no image stands twice among rows, by its key and its shard."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadInput

IMAGE = ["shard", "image_key"]
"""The columns that name an image."""


def refuse_doubles(images: Sequence[pa.RecordBatch], where: str) -> None:
    """Raise BadInput, which says `where`, if an image stands twice among the columns IMAGE of the rows of a cell."""
    shards = dict[str | None, list[pa.Array]]()
    for rows in images:
        words = pc.unique(rows["shard"]).to_pylist()
        for shard in words:
            own = rows["image_key"] if len(words) == 1 else rows["image_key"].filter(pc.equal(rows["shard"], shard))
            shards.setdefault(shard, []).append(own.cast(pa.string()))
    for shard, parts in shards.items():
        keys = pa.concat_arrays(parts)
        if not _ascend(keys) and pc.count_distinct(keys, mode="all").as_py() < len(keys):
            times = pc.value_counts(keys)
            key, count = times.filter(pc.greater(times.field("counts"), 1))[0].as_py().values()
            raise BadInput(
                f"{where} holds the image {key} of shard {shard} {count} times: "
                "`barrage verify` names the unit; remove its file, and run the campaign again"
            )


def _ascend(keys: pa.Array) -> bool:
    """Return whether each key is greater than the one before it, as in a file of a whole shard: no two are the same."""
    return keys.null_count == 0 and pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py()
