"""Rows out of a store, and nothing but rows: what tables, checks and notebooks read."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.rows import SCHEMA
from pipeline.store import Store


def results(url: str, columns: Sequence[str] | None = None, cell: str | None = None) -> pa.Table:
    """All committed rows of a store or of one cell, or some of their columns. Raises BadInput if the store has none."""
    store = Store(url)
    names = list(columns) if columns else SCHEMA.names
    while files := store.files(cell or "*"):
        try:
            return pa.concat_tables(pq.ParquetFile(store.root / file).read(columns=names) for file in files)
        except FileNotFoundError:  # compacted this moment: list again
            continue
    if cell is not None:
        return pa.schema([SCHEMA.field(name) for name in names]).empty_table()
    raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")


def parsed(data: bytes, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of one committed file. Raises ValueError if it is none."""
    try:
        return pq.ParquetFile(io.BytesIO(data)).read(columns=list(columns)).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file of rows: {error}") from None
