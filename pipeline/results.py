"""Rows out of a store, and nothing but rows: what tables, checks and notebooks read."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.campaign import BadInput
from pipeline.rows import SCHEMA
from pipeline.store import Store


def results(url: str, columns: Sequence[str] | None = None, cell: str | None = None) -> pa.Table:
    """All committed rows of a store or of one cell, or some of their columns. Raises BadInput if the store has none."""
    files = list(Store(url).list(f"results/cell={cell or '*'}/*.parquet"))
    if not files and cell is None:
        raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")
    names = list(columns) if columns else SCHEMA.names
    tables = [pq.ParquetFile(file).read(columns=names) for file in files]
    return pa.concat_tables(tables) if tables else pa.schema([SCHEMA.field(name) for name in names]).empty_table()
