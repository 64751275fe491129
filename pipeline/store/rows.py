"""Rows out of a store, and nothing but rows: what tables, checks, reports and notebooks read."""

import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.store.schema import DAMAGED, SCHEMA

BATCH, LISTED_BATCH = 1 << 16, 1 << 14
"""Rows of a batch, and where draws' lists of classes are among the columns: twenty megabytes, which caches like best."""

_STRINGS = [field.name for field in SCHEMA if pa.types.is_string(field.type)]
_LISTS = {field.name for field in SCHEMA if pa.types.is_list(field.type)}


def batches(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> Iterator[pa.Table]:
    """All committed rows of a store, or some columns and cells of them, some thousand at a time; strings are dictionaries.

    Raises BadInput if there are none, for a cell that the store lacks, and for a file that is damaged or of another version;
    StorageError.
    """
    store = Store(url)
    files = {name: name.split("/")[1].removeprefix("cell=") for name in store.files()}
    if not files:
        raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")
    for cell in cells or ():
        if cell not in files.values():
            raise BadInput(f"store {url} holds no rows of the cell {cell!r}: it has {', '.join(sorted(set(files.values())))}")
    wanted, known = [name for name, cell in files.items() if cells is None or cell in cells], dict[Any, pa.Array]()
    for name, file in zip(wanted, map_ordered(store.open, wanted), strict=True):
        with file:
            for rows in _rows(file, urls.join(store.url, name), list(columns) if columns else SCHEMA.names):
                yield _shared(rows, known)


def results(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pa.Table:
    """All of `batches` as one table. Raises BadInput as it does."""
    while True:
        try:
            return pa.concat_tables(batches(url, columns, cells))
        except FileNotFoundError:  # compacted this moment: list again
            continue


def _rows(opened: BinaryIO, path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        metadata = pq.ParquetFile(opened).metadata
        there = {field.name: field.type for field in metadata.schema.to_arrow_schema()}
        for name in columns:
            if there.get(name) != SCHEMA.field(name).type:
                what = f"has {there[name]} in" if name in there else "lacks"
                raise BadInput(
                    f"{path} {what} the column {name}: another version wrote it; read it with that, or run in a new store"
                )
        strings = [name for name in columns if name in _STRINGS]
        with pq.ParquetFile(opened, metadata=metadata, read_dictionary=strings, page_checksum_verification=True) as file:
            left = metadata.num_rows
            for batch in file.iter_batches(LISTED_BATCH if _LISTS & set(columns) else BATCH, columns=columns):
                batch.validate(full=True)  # what the checksums of pages leave out: their own headers
                left -= batch.num_rows
                yield batch
            if left:
                raise ValueError(f"{left} of {metadata.num_rows} rows are missing")
    except (BadInput, FileNotFoundError):
        raise
    except DAMAGED as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} is no whole Parquet file ({reason}): remove it, and run the campaign again") from None


def _shared(rows: pa.RecordBatch, known: dict[Any, pa.Array]) -> pa.Table:
    """A batch with its dictionaries as they are `known` from earlier ones: those of many cells are alike, and held once."""
    columns = []
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_dictionary(column.type) and len(column.dictionary):
            words = column.dictionary
            earlier = known.setdefault((name, len(words), words[0].as_py(), words[-1].as_py()), words)
            column = pa.DictionaryArray.from_arrays(column.indices, earlier) if earlier.equals(words) else column
        columns.append(column)
    return pa.Table.from_arrays(columns, rows.schema.names)


def parsed(data: bytes, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of one committed file. Raises ValueError if it is none."""
    try:
        return pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read(columns=list(columns)).to_pydict()
    except DAMAGED as error:
        raise ValueError(f"no Parquet file of rows: {error}") from None


def with_key(table: pa.Table, image: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose `image_key` is `image`."""
    return table.filter(pc.equal(table["image_key"].cast(pa.string()), image)).to_pylist()
