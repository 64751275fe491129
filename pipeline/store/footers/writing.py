"""Write a file of rows, with what they have in common in its footer."""

from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.footers.facts import KEY, Gathered

_UNIQUE = "image_key"
"""The column without a dictionary: no image has the key of another, so a dictionary of keys would only double them."""


class Writer:
    """Write rows to a Parquet file, some at a time, each page with a checksum. Use it as a context.

    sink    an open file, at its beginning
    schema  of the rows, with the metadata of the file
    options others of pyarrow's writer
    """

    def __init__(self, sink: BinaryIO, schema: pa.Schema, **options: Any) -> None:
        self._sink, self._gathered = sink, Gathered(schema)
        dictionaries = [field.name + _below(field.type) for field in schema if field.name != _UNIQUE]
        chosen = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": dictionaries} | options
        self._writer = pq.ParquetWriter(sink, schema, **chosen)

    def write(self, rows: pa.Table, group: int | None = None) -> None:
        """Write rows, as row groups of at most `group` rows."""
        self._writer.write_table(rows, row_group_size=group)
        self._gathered.add(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._writer.add_key_value_metadata({KEY: self._gathered.encode(self._sink.tell())})
        self._writer.close()


def _below(kind: pa.DataType) -> str:
    """Return what Parquet appends to the name of a column of lists, for the values inside."""
    return ".list.element" + _below(kind.value_type) if isinstance(kind, (pa.ListType, pa.FixedSizeListType)) else ""
