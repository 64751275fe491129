"""Find images that stand twice in a cell. Keys that an earlier cell has too, byte for byte, are not decoded again.

Cells mostly hold the same images, in files that are cut alike, and decoding keys takes longer than any other column of a table.
So the bytes that hold a file's keys are hashed as they are stored. A cell of whose files an earlier one has every hash holds
no image that the earlier one does not, and where that had none twice, neither has this.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.doubles.keys import IMAGE, refuse_doubles

REMEMBERED = 16
"""Cells whose hashes are kept: 100 bytes a file."""


class Images:
    """Find images that stand twice, in one cell after another."""

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
