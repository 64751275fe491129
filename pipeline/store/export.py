"""Export the rows of a store to one Parquet file of plain columns, which any program reads."""

import os
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadInput, StorageError
from pipeline.store.rows import batches
from pipeline.store.schema import CLASSES, SCHEMA, metadata

GROUP = 16_384
"""Rows of a row group, and the rows in memory."""

_PLAIN = {CLASSES: pa.list_(pa.int32()), pa.list_(CLASSES): pa.list_(pa.list_(pa.int32()))}
"""How types that not every reader knows are written."""

COLUMNS = pa.schema([pa.field(field.name, _PLAIN.get(field.type, field.type), metadata=field.metadata) for field in SCHEMA])
"""The columns of an exported file: those of the rows, as numbers, texts, and lists of numbers."""


def export(url: str, path: Path, cells: Collection[str] | None = None, about: Mapping[str, object] | None = None) -> int:
    """Write the committed rows of a store, of all cells or some, to one new file; return how many rows there are.

    about  what its metadata say of its origin; default: the store
    The file is written beside its place and gets its name when it is whole. It replaces an earlier one. Raises BadInput as
    `batches` does, and for a place in the store itself; StorageError if the file cannot be written.
    """
    _refuse_store(url, path)
    aside, count = path.with_name(f".{path.name}.{uuid.uuid4().hex}"), 0
    columns = COLUMNS.with_metadata(metadata({"store": url} if about is None else about))
    try:
        with pq.ParquetWriter(aside, columns, compression="zstd") as writer:
            for rows in batches(url, None, cells):
                writer.write_table(rows.cast(columns), row_group_size=GROUP)
                count += len(rows)
        os.replace(aside, path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}; give another place, or make room") from error
    finally:
        with suppress(OSError):
            aside.unlink()
    return count


def _refuse_store(url: str, path: Path) -> None:
    """Raise BadInput for a place where readers of the store would take the file for rows."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder: give a file, such as {path / 'rows.parquet'}")
    inside = path.resolve()
    if any(inside.is_relative_to(Path(url).resolve() / folder) for folder in ("results", "sealed")):
        raise BadInput(f"{path} is inside the store {url}, whose readers would take it for rows: give a file elsewhere")
