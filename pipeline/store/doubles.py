"""Find images that stand twice in a cell. Keys that an earlier cell has too, byte for byte, are not decoded again.

Cells mostly hold the same images, in files that are cut alike, and decoding keys takes longer than any other column of a table.
So the bytes that hold a file's keys are hashed as they are stored. A cell of whose files an earlier one has every hash holds
no image that the earlier one does not, and where that had none twice, neither has this.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput

IMAGE = ["shard", "image_key"]
"""The columns that name an image."""

REMEMBERED = 16
"""Cells whose hashes are kept: 100 bytes a file."""


class Images:
    """Look for images that stand twice, in one cell after another."""

    def __init__(self) -> None:
        self._sound = deque[frozenset[bytes]](maxlen=REMEMBERED)  # of each cell without doubles, the hashes of its files
        self._begin()

    def _begin(self) -> None:
        self._hashes, self._rows, self._left = list[bytes](), list[pa.RecordBatch](), False

    def new(self, file: BinaryIO, metadata: pq.FileMetaData) -> bool:
        """Return whether the images of a file must be read and added, because no earlier cell is known to have them."""
        self._hashes.append(_hash(file, metadata))
        known = any(self._hashes[-1] in cell for cell in self._sound)
        self._left = self._left or known
        return not known

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the columns IMAGE of rows of the present cell."""
        self._rows.append(rows.select(IMAGE))

    def end(self, where: str, again: Callable[[], Iterable[pa.RecordBatch]]) -> None:
        """End a cell. Raises BadInput, which says `where`, if it has an image twice.

        again  read the columns IMAGE of all its rows: for a cell with files in common with an earlier one, but not part of it
        """
        hashes, images, left = self._hashes, self._rows, self._left
        self._begin()
        cell = frozenset(hashes)
        if len(cell) < len(hashes) or not any(cell <= earlier for earlier in self._sound):
            refuse_doubles(list(again()) if left else images, where)
            self._sound.append(cell)


def _hash(file: BinaryIO, metadata: pq.FileMetaData) -> bytes:
    """Return a hash of the columns IMAGE of a Parquet file as they are stored, and of what the footer says of their pages."""
    digest, names = hashlib.sha256(), metadata.schema.names
    for place in (names.index(name) if name in names else None for name in IMAGE):
        digest.update(b"column" if place is None else metadata.schema.column(place).physical_type.encode())
        for group in range(metadata.num_row_groups if place is not None else 0):
            column = metadata.row_group(group).column(place)
            first, size = column.data_page_offset, column.total_compressed_size
            begin = min(first, column.dictionary_page_offset) if column.has_dictionary_page else first
            whole = column.total_uncompressed_size
            digest.update(repr((column.num_values, column.compression, column.encodings, whole, first - begin, size)).encode())
            file.seek(begin)
            digest.update(file.read(size))
    return digest.digest()


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
