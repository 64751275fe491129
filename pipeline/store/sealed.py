"""Seal a cell: copy the rows of its many small files into one large file, which readers open in their place.

sealed/<cell>--<count>-<digest>.parquet

The unit files stay where they are and stay the only truth. The name of a sealed copy says of which files it was made: how many,
and the hash of their sorted names. Readers (`committed.files`) list a cell's unit files and use the copy that has exactly this
name, if it is there, else the unit files. Hence

- a seal that was killed is absent, as files are written whole, and one that is outdated by a new unit is not used;
- two seals at once write the same rows under the same name, or each the rows of its own listing under names of their own;
- no row is lost or doubled at any moment.

The rows stand in the order of the unit files' names. The column `file_sha256` holds the hash of the file that a row was copied
from, by which `barrage verify` compares the copy with its sources.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.scoring.decided import DECIDED
from pipeline.storage import urls
from pipeline.store import committed, doubles, planned_cells, rows
from pipeline.store.footers import Writer
from pipeline.store.layout import ROWS, Store, sealed_name
from pipeline.store.schema import DAMAGED, SCHEMA, SOURCE, metadata

GROUP = 16_384
"""Rows of a row group: what a reader of few columns or one image skips by, and the rows in memory beside the file itself."""

_SEALED = SCHEMA.append(SOURCE)


@dataclass(frozen=True)
class Sealed:
    """Describe a sealed copy: its name, the files and rows that it holds, its size in bytes, and whether it is new."""

    name: str
    files: int
    rows: int
    bytes: int
    new: bool


def seal(store: Store, cell: str) -> Sealed | None:
    """Seal the rows that a cell has now, unless they are sealed already; return None for a cell without rows.

    A copy that is damaged, or older than one of its unit files (which was removed and made again), is replaced.
    Needs memory for the copy, about 0.5 kB a row. Raises BadInput if a unit file is damaged or of another program, and for an
    image with two rows; StorageError.
    """
    files = committed.sources_of(store, cell)
    if not files:
        return None
    name = sealed_name(cell, files)
    found = _sound(store.read(name)) if _is_newest(store, files, name) else None
    new = found is None
    if found is None:
        found = _merged(store, cell, files)
        store.replace(name, found[1])  # another seal at work writes the same
    _remove_outdated(store, cell, name)
    return Sealed(name, len(files), found[0], len(found[1]), new)


def differences(store: Store, cell: str) -> Iterator[str]:
    """Yield what is wrong with the sealed copy that readers of a cell use, one line each; nothing without such a copy."""
    files = committed.sources_of(store, cell)
    name = sealed_name(cell, files)
    data = store.read(name) if files else None
    if data is None:
        return
    if _sound(data) is None:
        yield f"{name}: no whole sealed copy; make it again with `barrage seal`"
        return
    copy = pq.read_table(io.BytesIO(data), partitioning=None)
    if copy.schema == pa.schema([field for field in _SEALED if field.name not in DECIDED]):  # made before these columns
        copy = rows.filled(copy, _SEALED)
    if copy.schema != _SEALED:
        yield f"{name}: other columns than a sealed copy has; remove it, and seal the cell again"
        return
    begun = 0
    for file, source in zip(files, map_ordered(store.read, files), strict=True):
        try:
            truth = _with_hash(store, file, source)
        except BadInput:
            return  # the check of the units names it
        copied, begun = copy.slice(begun, len(truth)), begun + len(truth)
        if repr(copied.to_pylist()) != repr(truth.to_pylist()):  # as text: a NaN equals itself
            yield f"{name}: its rows are not those of {file}; seal the cell again if that file is newer, else remove the copy"
            return
    if begun != len(copy):
        yield f"{name}: it holds {len(copy) - begun} rows more than its unit files; remove it, and seal the cell again"


def _is_newest(store: Store, files: list[str], name: str) -> bool:
    """Return whether a sealed copy is there and younger than every file that it was made of."""
    copy, wanted = store.entry(name), set(files)
    return copy is not None and all(file.modified < copy.modified for file in store.entries() if file.name in wanted)


def _merged(store: Store, cell: str, files: list[str]) -> tuple[int, bytes]:
    """Return how many rows the files hold, and one Parquet file of them all."""
    buffer, count, waiting, held, images = io.BytesIO(), 0, list[pa.Table](), 0, list[pa.RecordBatch]()
    about, identity = metadata({"cell": cell, "files": len(files)}), planned_cells.plan(store).cells[cell]
    with Writer(buffer, _SEALED.with_metadata(about)) as writer:
        for file, data in zip(files, map_ordered(store.read, files), strict=True):
            waiting.append(_with_hash(store, file, data, identity))
            images += waiting[-1].select(doubles.IMAGE).to_batches()
            held += len(waiting[-1])
            if held >= GROUP:
                count, waiting, held = count + _write(writer, waiting), [], 0
        count += _write(writer, waiting)
    doubles.refuse_doubles(images, f"store {store.url}: cell {cell}")
    return count, buffer.getvalue()


def _write(writer: Writer, waiting: list[pa.Table]) -> int:
    """Write some tables as one row group; return its rows."""
    if not waiting:
        return 0
    found = pa.concat_tables(waiting).unify_dictionaries()
    writer.write(found.combine_chunks(), 2 * GROUP)
    return len(found)


def _with_hash(store: Store, file: str, data: bytes | None, identity: str = "") -> pa.Table:
    """Return the rows of a file with the column `file_sha256`. Raises BadInput as `rows.table` does."""
    path = urls.join(store.url, file)
    if data is None:
        raise BadInput(f"{path} is gone: run the campaign again, which commits its unit anew")
    found = rows.table(data, path, identity=identity)
    return found.append_column(SOURCE, pa.repeat(pa.scalar(hashlib.sha256(data).hexdigest()), len(found)))


def _sound(data: bytes | None) -> tuple[int, bytes] | None:
    """Return the rows and the bytes of a sealed copy that can be read through; None if it is absent or damaged."""
    try:
        file = pq.ParquetFile(io.BytesIO(data or b""), page_checksum_verification=True)
        count = sum(batch.num_rows for batch in file.iter_batches() if batch.validate(full=True) is None)
        return (count, data or b"") if count == file.metadata.num_rows else None
    except DAMAGED:
        return None


def _remove_outdated(store: Store, cell: str, name: str) -> None:
    """Remove the sealed copies of a cell that no listing will ask for again: all but this one and that of the present rows."""
    current = sealed_name(cell, committed.sources_of(store, cell))
    mine = re.compile(rf"sealed/{re.escape(cell)}--\d+-[0-9a-f]{{16}}{re.escape(ROWS)}")
    for old in filter(mine.fullmatch, store.sealed() - {name, current}):
        store.remove(old)
