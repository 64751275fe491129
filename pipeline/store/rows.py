"""Read the rows of a store, and nothing but rows: for tables, checks, reports and notebooks."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.planning.units import images_of
from pipeline.storage import urls
from pipeline.store import committed, formats, schema
from pipeline.store.compacted import is_compacted
from pipeline.store.layout import Store, is_sealed, stem_of
from pipeline.store.schema import DAMAGED, SCHEMA, WORDS

BATCH, LISTED_BATCH = 1 << 16, 1 << 14
"""Rows of a batch, and where draws' lists of classes are among the columns: twenty megabytes, which caches like best."""

IMAGE = ["shard", "image_key"]
"""The columns that name an image."""

_STRINGS = {field.name for field in SCHEMA if pa.types.is_string(field.type)}
_LISTS = {field.name for field in SCHEMA if pa.types.is_list(field.type)}


def batches(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield all committed rows of a store, or some columns and cells, some thousand at a time; strings are dictionaries.

    Sealed cells are read from their copy. Raises BadInput if there are no rows, for a cell that the store lacks, for a file
    that is damaged or of a later format, for rows that are not of the store's campaign, and after the rows of a cell that holds
    an image twice; StorageError.
    """
    store = Store(url)
    plan, files = committed.files(store)
    if not files:
        raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")
    for cell in cells or ():
        if cell not in files:
            raise BadInput(f"store {url} holds no rows of the cell {cell!r}: it has {', '.join(files)}")
    wanted, known = {cell: names for cell, names in files.items() if cells is None or cell in cells}, dict[Any, pa.Array]()
    columns = list(columns or SCHEMA.names)
    for cell, opened in groupby(_opened(store, wanted), itemgetter(0)):
        images = list[pa.RecordBatch]()
        for _, name, file in opened:
            with file:
                for rows in read(file, urls.join(store.url, name), list(dict.fromkeys([*columns, *IMAGE])), plan.cells[cell]):
                    images.append(rows.select(IMAGE))
                    yield _shared(rows.select(columns), known)
        refuse_doubles(images, f"store {store.url}: cell {cell}")


def results(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pa.Table:
    """Return all of `batches` as one table. Raises BadInput as it does."""
    return pa.concat_tables(batches(url, columns, cells))


def table(data: bytes, path: str, whole: bool = False, identity: str = "") -> pa.Table:
    """Return the rows of one file, with the columns and types of SCHEMA.

    whole       refuse a file of the present format that lacks any column but those of `schema.LATEST`
    identity    refuse rows of a cell with another identity, if this is given
    Raises BadInput, which names `path`, for a file that is damaged, of another program, or of a later format, and for one that
    holds the rows of another unit or not one row an image.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        there = file.schema_arrow
        names = schema.present(there, SCHEMA.names, path)
        _refuse_others(file.metadata, path, identity)
        lacking = [name for name in SCHEMA.names if name not in names and name not in schema.LATEST]
        if whole and schema.provenance(there).get("format") == formats.FORMAT and lacking:
            text = f"{path} lacks columns of format {formats.FORMAT}, in which it was written: {', '.join(lacking)}; restore it"
            raise BadInput(text)
        return _filled(file.read(names), SCHEMA)
    except BadInput:
        raise
    except DAMAGED as error:
        raise _broken(path, error) from None


def refuse_doubles(images: Sequence[pa.RecordBatch], where: str) -> None:
    """Raise BadInput, which says `where`, if an image stands twice among the columns IMAGE of the rows of a cell."""
    names = pa.schema([(name, pa.string()) for name in IMAGE])
    every = pa.Table.from_batches([rows.cast(names) for rows in images], names)
    times = every.group_by(IMAGE).aggregate([([], "count_all")])
    if len(times) < len(every):
        twice = times.filter(pc.greater(times["count_all"], 1)).slice(0, 1).to_pylist()[0]
        raise BadInput(
            f"{where} holds the image {twice['image_key']} of shard {twice['shard']} {twice['count_all']} times: "
            "`barrage verify` names the unit; remove its file, and run the campaign again"
        )


def _opened(store: Store, files: Mapping[str, list[str]]) -> Iterator[tuple[str, str, BinaryIO]]:
    """Yield the cell and name of each file, and it open. A sealed copy that is gone gives way to its unit files."""

    def opened(name: str) -> BinaryIO | None:
        try:
            return store.open(name)
        except FileNotFoundError:
            return None

    named = [(cell, name) for cell, names in files.items() for name in names]
    for (cell, name), file in zip(named, map_ordered(opened, (name for _, name in named)), strict=True):
        if file is not None:
            yield cell, name, file
        elif name.startswith("sealed/"):
            yield from _opened(store, {cell: committed.sources_of(store, cell)})
        else:
            raise BadInput(f"{urls.join(store.url, name)} was removed while the store was read: run the command again")


def read(opened: BinaryIO, path: str, columns: Sequence[str], identity: str = "") -> Iterator[pa.RecordBatch]:
    """Yield some columns of one open file, some thousand rows at a time; strings are dictionaries.

    Raises BadInput, which names `path`, as `table` does, and for rows of a cell with another `identity`, if that is given.
    """
    try:
        metadata = pq.ParquetFile(opened).metadata
        names = schema.present(metadata.schema.to_arrow_schema(), columns, path)
        _refuse_others(metadata, path, identity)
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


def _refuse_others(metadata: pq.FileMetaData, path: str, identity: str = "") -> None:
    """Raise BadInput if a file holds rows of another campaign or unit, or not one row an image, as its footer tells."""
    again = "remove it, and run the campaign again"
    if identity and (others := _words(metadata, "campaign") - {identity}):
        raise BadInput(f"{path} holds rows of another campaign (identity {min(others)}, expected {identity}): {again}")
    unit = stem_of(path)
    if "--" not in unit or is_compacted(unit) or is_sealed(path):
        return
    if others := _words(metadata, "unit") - {unit}:
        raise BadInput(f"{path} holds rows of the unit {min(others)}, which would count twice: {again}")
    if metadata.num_rows != images_of(unit):
        raise BadInput(f"{path} holds {metadata.num_rows} rows, expected one for each image of its unit: {again}")


def _words(metadata: pq.FileMetaData, column: str) -> set[str]:
    """Return the least and the greatest value of a column of strings in each row group; nothing where all are null."""
    if column not in metadata.schema.names:
        return set()
    place = metadata.schema.names.index(column)
    found = (metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups))
    return {str(word) for known in found if known and known.has_min_max for word in (known.min, known.max)}


def _as_read(columns: Sequence[str]) -> pa.Schema:
    """Return some columns of SCHEMA with the types that `read` gives them."""
    return pa.schema([pa.field(name, WORDS if name in _STRINGS else SCHEMA.field(name).type) for name in columns])


def _filled(rows: Any, wanted: pa.Schema) -> Any:
    """Return a table or a batch with the columns of `wanted`, in their order; those that it lacks are null."""
    there = set(rows.schema.names)
    columns = [rows[f.name].cast(f.type) if f.name in there else pa.nulls(rows.num_rows, f.type) for f in wanted]
    return type(rows).from_arrays(columns, schema=wanted)


def _broken(path: str, error: BaseException) -> BadInput:
    """Return what to say of a file that is damaged."""
    reason = " ".join(str(error).splitlines()[:1])
    if is_sealed(path):
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


def parsed(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Return some columns of one committed file; null where it lacks them. Raises ValueError if it is no file of rows."""
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        found = file.read(schema.present(file.schema_arrow, columns, "a file of rows"))
    except DAMAGED as error:
        raise ValueError(f"no Parquet file of rows: {error}") from None
    return _filled(found, pa.schema([SCHEMA.field(name) for name in columns]))


def with_key(table: pa.Table, image: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose `image_key` is `image`; none for a text that is no UTF-8, which no key is."""
    if image.encode(errors="ignore").decode() != image:
        return []
    return table.filter(pc.equal(table["image_key"].cast(pa.string()), image)).to_pylist()
