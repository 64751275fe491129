"""Read the rows of a store, and nothing but rows: for tables, checks, reports and notebooks."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.planning.units import images_of
from pipeline.scoring import decided
from pipeline.scoring.decided import DECIDED
from pipeline.storage import urls
from pipeline.store import committed, formats, schema
from pipeline.store.compacted import is_compacted
from pipeline.store.doubles import IMAGE, Images
from pipeline.store.footers import Facts, facts_of
from pipeline.store.layout import Store, is_sealed, stem_of
from pipeline.store.schema import DAMAGED, SCHEMA, WORDS

BATCH, LISTED_BATCH = 1 << 16, 1 << 14
"""Rows of a batch, and where draws' lists of classes are among the columns: twenty megabytes, which caches like best."""

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
    columns, images = list(columns or SCHEMA.names), Images()
    words = _STRINGS & {*columns, "shard"}
    for cell, opened in groupby(_opened(store, wanted), itemgetter(0)):
        for _, name, file in opened:
            with file:
                for rows in read(file, urls.join(store.url, name), columns, plan.cells[cell], words, images):
                    yield _shared(rows, known)
        images.end(f"store {store.url}: cell {cell}", partial(_images, store, {cell: wanted[cell]}, plan.cells[cell]))


def _images(store: Store, files: Mapping[str, list[str]], identity: str) -> Iterator[pa.RecordBatch]:
    """Yield the columns IMAGE of all rows of a cell's files."""
    for _, name, file in _opened(store, files):
        with file:
            yield from read(file, urls.join(store.url, name), IMAGE, identity, IMAGE[:1])


def results(url: str, columns: Sequence[str] | None = None, cells: Collection[str] | None = None) -> pa.Table:
    """Return all of `batches` as one table. Raises BadInput as it does."""
    return pa.concat_tables(batches(url, columns, cells))


def table(data: bytes, path: str, whole: bool = False, identity: str = "") -> pa.Table:
    """Return the rows of one file, with the columns and types of SCHEMA.

    whole       refuse a file of the present format that lacks any column but those of `schema.LATEST` and `decided.DECIDED`
    identity    refuse rows of a cell with another identity, if this is given
    Raises BadInput, which names `path`, for a file that is damaged, of another program, or of a later format, and for one that
    holds the rows of another unit or not one row an image.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        there = file.schema_arrow
        names = schema.present(there, SCHEMA.names, path)
        _refuse_others(file, facts_of(file.metadata, len(data)), path, identity)
        lacking = [name for name in SCHEMA.names if name not in names and name not in schema.LATEST | DECIDED.keys()]
        if whole and schema.provenance(there).get("format") == formats.FORMAT and lacking:
            text = f"{path} lacks columns of format {formats.FORMAT}, in which it was written: {', '.join(lacking)}; restore it"
            raise BadInput(text)
        return filled(file.read(names), SCHEMA)
    except BadInput:
        raise
    except DAMAGED as error:
        raise _broken(path, error) from None


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


def read(
    opened: BinaryIO,
    path: str,
    columns: Sequence[str],
    identity: str = "",
    words: Collection[str] = _STRINGS,
    images: Images | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of one open file, some thousand rows at a time; strings are dictionaries, if they are among `words`.

    images  takes the images of the rows, where it does not know them
    Columns that follow from others, and that the file lacks, are computed. Raises BadInput, which names `path`, as `table`
    does, and for rows of a cell with another `identity`, if that is given.
    """
    try:
        file = pq.ParquetFile(opened, page_checksum_verification=True)
        metadata, there, facts = file.metadata, file.schema_arrow, facts_of(file.metadata, opened.seek(0, io.SEEK_END))
        every = list(dict.fromkeys([*columns, *(IMAGE if images else ())]))
        names = schema.present(there, decided.needed(every, there.names), path)
        _refuse_others(file, facts, path, identity)
        new = images if images and images.new(facts.images if facts else None) else None
        if not new:
            every, names = list(columns), [name for name in names if name in columns or name not in IMAGE]
        wanted = _as_read(every, words)
        known = {name: facts.values[name] for name in names if name in facts.values} if facts else {}
        asked, left = [name for name in names if name not in known] or names[:1], metadata.num_rows
        if strings := [name for name in asked if name in words]:
            file = pq.ParquetFile(opened, metadata=metadata, read_dictionary=strings, page_checksum_verification=True)
        for batch in file.iter_batches(LISTED_BATCH if _LISTS & set(asked) else BATCH, columns=asked):
            batch.validate(full=True)  # what the checksums of pages leave out: their own headers
            left -= batch.num_rows
            rows = filled(batch, wanted, known)
            if new:
                new.add(rows)
            yield rows.select(columns) if new else rows
        if left:
            raise ValueError(f"{left} of {metadata.num_rows} rows are missing")
    except (BadInput, FileNotFoundError):
        raise
    except DAMAGED as error:
        raise _broken(path, error) from None


def _refuse_others(file: pq.ParquetFile, facts: Facts | None, path: str, identity: str = "") -> None:
    """Raise BadInput if a file holds rows of another campaign or unit, or not one row an image."""
    again = "remove it, and run the campaign again"
    if identity and (others := _words(file, facts, "campaign") - {identity}):
        raise BadInput(f"{path} holds rows of another campaign (identity {min(others)}, expected {identity}): {again}")
    unit = stem_of(path)
    if "--" not in unit or is_compacted(unit) or is_sealed(path):
        return
    if others := _words(file, facts, "unit") - {unit}:
        raise BadInput(f"{path} holds rows of the unit {min(others)}, which would count twice: {again}")
    if file.metadata.num_rows != images_of(unit):
        raise BadInput(f"{path} holds {file.metadata.num_rows} rows, expected one for each image of its unit: {again}")


def _words(file: pq.ParquetFile, facts: Facts | None, column: str) -> set[str]:
    """Return the texts of a column, without nulls; none where a file lacks it."""
    if facts and column in facts.values:
        return {facts.values[column]} - {None}
    if column not in file.schema_arrow.names:
        return set()
    found = set[str]()
    for batch in file.iter_batches(BATCH, columns=[column]):
        batch.validate(full=True)
        found.update(pc.unique(batch[column]).drop_null().to_pylist())
    return found


_ZEROS = pa.repeat(pa.scalar(0, pa.int32()), BATCH)


def _constant(kind: pa.DataType, value: Any, count: int) -> pa.Array:
    """Return a column of at most BATCH equal values, dictionaries for texts."""
    if value is not None and pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(_ZEROS[:count], pa.array([value]), safe=False)
    return _repeated(kind, value)[:count]


@lru_cache(maxsize=64)
def _repeated(kind: pa.DataType, value: Any) -> pa.Array:
    return pa.nulls(BATCH, kind) if value is None else pa.repeat(pa.scalar(value, kind), BATCH)


def _as_read(columns: Sequence[str], words: Collection[str]) -> pa.Schema:
    """Return some columns of SCHEMA with the types that `read` gives them."""
    return pa.schema([pa.field(name, WORDS if name in words else SCHEMA.field(name).type) for name in columns])


def filled(rows: Any, wanted: pa.Schema, known: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Return a table or a batch with the columns of `wanted`, in their order; those `known` have that value in every row.

    Of those that neither has, what follows from others is computed, and the rest is null.
    """
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    for name in known.keys() - columns.keys():
        kind = wanted.field(name).type if name in wanted.names else SCHEMA.field(name).type
        columns[name] = _constant(kind, known[name], rows.num_rows)
    for name in (
        name for name in DECIDED if name in wanted.names and name not in columns and columns.keys() >= {*DECIDED[name]}
    ):
        needs = list(DECIDED[name])
        columns[name] = decided.column(type(rows).from_arrays([columns[need] for need in needs], needs), name)
    found = [columns.get(field.name) for field in wanted]
    pairs = zip(found, wanted, strict=True)
    found = [pa.nulls(rows.num_rows, f.type) if c is None else c if c.type == f.type else c.cast(f.type) for c, f in pairs]
    return type(rows).from_arrays(found, schema=wanted)


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
        if pa.types.is_dictionary(column.type) and len(words := column.dictionary) > 1:
            earlier = known.setdefault((name, len(words), words[0].as_py(), words[-1].as_py()), words)
            column = pa.DictionaryArray.from_arrays(column.indices, earlier) if earlier.equals(words) else column
        columns.append(column)
    return pa.Table.from_arrays(columns, rows.schema.names)


def with_key(table: pa.Table, image: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose `image_key` is `image`; none for a text that is no UTF-8, which no key is."""
    if image.encode(errors="ignore").decode() != image:
        return []
    return table.filter(pc.equal(table["image_key"].cast(pa.string()), image)).to_pylist()
