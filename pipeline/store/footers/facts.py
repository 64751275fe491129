"""Say in the footer of a file of rows which columns have one value, and which images it holds, so that neither is decoded.

Parquet's own statistics are not asked: they carry no checksum, so that a flipped bit could make one value of two, and asking
those of a column whose description is damaged ends the process (pyarrow 26), where reading the column raises an error. So the
facts are our own: JSON with the hash of it, beside the other metadata of the file. They hold for the file as it was written
and for no other, hence they say how many rows it has and where its pages end; a file that another program made of the rows,
with the metadata of this one, has its pages elsewhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.doubles import IMAGE

KEY = b"barrage.facts"
"""Of the facts in the metadata of a file."""

SHARED = frozenset(
    (
        "shard", "cell", "model", "defense", "k", "attack", "policy", "mode", "norm", "eps", "steps", "eot_draws",
        "evaluation_draws", "status", "seed", "unit", "campaign", "commit", "versions", "device",
    )
)  # fmt: skip
"""Columns that are never null and seldom change inside a file: their one value is among the facts."""


@dataclass(frozen=True)
class Facts:
    """Hold what a file says of all its rows.

    values  the one value of each column that has one: of those of SHARED, and None of any without a value in the whole file
    images  the hash of its columns IMAGE, equal for equal images in the same order
    """

    values: dict[str, Any]
    images: str


class Gathered:
    """Gather the facts of rows that are written to one file, some at a time."""

    def __init__(self, schema: pa.Schema) -> None:
        self._rows, self._images = 0, list[pa.RecordBatch]()
        self._values: dict[str, set[Any]] = {name: set() for name in schema.names}

    def add(self, rows: pa.Table) -> None:
        """Take rows."""
        self._rows += len(rows)
        self._images += rows.select(IMAGE).to_batches()
        for name in list(self._values) if len(rows) else ():
            column = rows[name]
            if column.null_count == len(column):
                self._values[name].add(None)
            elif name in SHARED and column.null_count == 0 and len(words := pc.unique(column)) == 1:
                self._values[name].add(words[0].as_py())
            else:
                del self._values[name]

    def encode(self, end: int) -> bytes:
        """Return the facts of all rows as they stand in a footer; `end` is the byte where the pages of the file end."""
        values = {name: found.pop() for name, found in self._values.items() if len(found) == 1}
        content = {"rows": self._rows, "end": end, "values": values, "images": _hash(self._images)}
        return json.dumps(formats.hashed(content)).encode()


def facts_of(metadata: pq.FileMetaData, size: int) -> Facts | None:
    """Return what a file of `size` bytes says of its rows; None if it says nothing, or what is damaged or of another file."""
    try:
        content = formats.of_json("facts", (metadata.metadata or {}).get(KEY, b""))
        if (content["rows"], content["end"]) == (metadata.num_rows, size - metadata.serialized_size - 8):
            return Facts(dict(content["values"]), str(content["images"]))
    except (BadInput, KeyError, TypeError, ValueError):
        pass
    return None


def _hash(images: Sequence[pa.RecordBatch]) -> str:
    """Return a hash of the columns IMAGE, however their rows are cut: of the length of each text, and of all texts in a row."""
    digest = hashlib.sha256()
    for name in IMAGE:
        for rows in images:
            lengths = pc.fill_null(pc.binary_length(rows[name].cast(pa.string())), -1)
            digest.update(lengths.to_numpy(zero_copy_only=False).astype("<i4").tobytes())
        for rows in images:
            digest.update("".join(filter(None, rows[name].to_pylist())).encode())
    return digest.hexdigest()
