"""Read the rows of a store, and nothing but rows: for tables, checks, reports and notebooks."""

import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.store import formats, schema
from pipeline.store.layout import Store
from pipeline.store.schema import DAMAGED, SCHEMA

BATCH, LISTED_BATCH = 1 << 16, 1 << 14
"""Rows of a batch, and where draws' lists of classes are among the columns: twenty megabytes, which caches like best."""

_STRINGS = {field.name for field in SCHEMA if pa.types.is_string(field.type)}
_WORDS = pa.dictionary(pa.int32(), pa.string())
"""How strings are read: each word once."""

_LISTS = {field.name for field in SCHEMA if pa.types.is_list(field.type)}


def batches(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield all committed rows of a store, or some columns and cells, some thousand at a time; strings are dictionaries.

    Sealed cells are read from their copy. Raises BadInput if there are no rows, for a cell that the store lacks, and for a file
    that is damaged or of a later format; StorageError.
    """
    store = Store(url)
    files = {name: name.split("/")[1].removeprefix("cell=") for name in store.files()}
    if not files:
        raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")
    for cell in cells or ():
        if cell not in files.values():
            raise BadInput(f"store {url} holds no rows of the cell {cell!r}: it has {', '.join(sorted(set(files.values())))}")
    wanted, known = [name for name, cell in files.items() if cells is None or cell in cells], dict[Any, pa.Array]()
    for name, file in _opened(store, wanted):
        with file:
            for rows in read(file, urls.join(store.url, name), columns or SCHEMA.names):
                yield _shared(rows, known)


def results(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pa.Table:
    """Return all of `batches` as one table. Raises BadInput as it does."""
    return pa.concat_tables(batches(url, columns, cells))


def table(data: bytes, path: str, whole: bool = False) -> pa.Table:
    """Return the rows of one file, with the columns and types of SCHEMA.

    whole   refuse a file of the present format that lacks any column
    Raises BadInput, which names `path`, for a file that is damaged, of another program, or of a later format.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        there = file.schema_arrow
        names = schema.present(there, SCHEMA.names, path)
        if whole and schema.provenance(there).get("format") == formats.FORMAT and len(names) < len(SCHEMA):
            lacking = ", ".join(name for name in SCHEMA.names if name not in names)
            raise BadInput(f"{path} lacks columns of format {formats.FORMAT}, in which it was written: {lacking}; restore it")
        return _filled(file.read(names), SCHEMA)
    except BadInput:
        raise
    except DAMAGED as error:
        raise _broken(path, error) from None


def _opened(store: Store, names: list[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Yield each file, open. A sealed copy that a newer one replaced this moment gives way to the files that it was made of."""

    def opened(name: str) -> BinaryIO | None:
        try:
            return store.open(name)
        except FileNotFoundError:
            return None

    for name, file in zip(names, map_ordered(opened, names), strict=True):
        if file is not None:
            yield name, file
        elif name.startswith("sealed/"):
            cell = name.split("/")[1].removeprefix("cell=")
            yield from _opened(store, store.sources(cell)[cell])
        else:
            raise BadInput(f"{urls.join(store.url, name)} was removed while the store was read: run the command again")


def read(opened: BinaryIO, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of one open file, some thousand rows at a time; strings are dictionaries. Raises BadInput."""
    try:
        metadata = pq.ParquetFile(opened).metadata
        names = schema.present(metadata.schema.to_arrow_schema(), columns, path)
        strings = [name for name in names if name in _STRINGS]
        with pq.ParquetFile(opened, metadata=metadata, read_dictionary=strings, page_checksum_verification=True) as file:
            left = metadata.num_rows
            for batch in file.iter_batches(LISTED_BATCH if _LISTS & set(columns) else BATCH, columns=names):
                batch.validate(full=True)  # what the checksums of pages leave out: their own headers
                left -= batch.num_rows
                yield batch if len(names) == len(columns) else _filled(batch, _as_read(columns))
            if left:
                raise ValueError(f"{left} of {metadata.num_rows} rows are missing")
    except (BadInput, FileNotFoundError):
        raise
    except DAMAGED as error:
        raise _broken(path, error) from None


def _as_read(columns: Sequence[str]) -> pa.Schema:
    """Return some columns of SCHEMA with the types that `read` gives them."""
    return pa.schema([pa.field(name, _WORDS if name in _STRINGS else SCHEMA.field(name).type) for name in columns])


def _filled(rows: Any, wanted: pa.Schema) -> Any:
    """Return a table or a batch with the columns of `wanted`, in their order; those that it lacks are null."""
    there = set(rows.schema.names)
    columns = [rows[f.name] if f.name in there else pa.nulls(rows.num_rows, f.type) for f in wanted]
    return type(rows).from_arrays(columns, schema=wanted)


def _broken(path: str, error: BaseException) -> BadInput:
    """Return what to say of a file that is damaged."""
    reason = " ".join(str(error).splitlines()[:1])
    if "/sealed/cell=" in path:
        return BadInput(f"{path} is no whole sealed copy ({reason}): make it again from its unit files with `barrage seal`")
    return BadInput(f"{path} is no whole Parquet file ({reason}): remove it, and run the campaign again")


def _shared(rows: pa.RecordBatch, known: dict[Any, pa.Array]) -> pa.Table:
    """Return a batch with the dictionaries that are `known` from earlier ones: many cells have the same, held once."""
    columns = []
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_dictionary(column.type) and len(column.dictionary):
            words = column.dictionary
            earlier = known.setdefault((name, len(words), words[0].as_py(), words[-1].as_py()), words)
            column = pa.DictionaryArray.from_arrays(column.indices, earlier) if earlier.equals(words) else column
        columns.append(column)
    return pa.Table.from_arrays(columns, rows.schema.names)


def parsed(data: bytes, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return some columns of one committed file; null where it lacks them. Raises ValueError if it is no file of rows."""
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        names = schema.present(file.schema_arrow, columns, "a file of rows")
        found = file.read(names).to_pydict()
    except DAMAGED as error:
        raise ValueError(f"no Parquet file of rows: {error}") from None
    return {name: found.get(name, [None] * file.metadata.num_rows) for name in columns}


def with_key(table: pa.Table, image: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose `image_key` is `image`."""
    return table.filter(pc.equal(table["image_key"].cast(pa.string()), image)).to_pylist()
