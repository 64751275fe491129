"""Read the compacted files of release 0.1: results/cell=<cell>/compacted-<number>.parquet, the rows of many units.

Nothing writes them any more: a sealed copy (`pipeline.store.sealed`) took their place. The column `unit` of such a file names
the units that it holds, which are done. Where a unit's own file is still there too, because a compaction was killed, the rows
of that file do not count.
"""

import io
import re
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.store.schema import DAMAGED, SCHEMA

_NAME = re.compile(r"compacted-\d{6}")


def is_compacted(stem: str) -> bool:
    """Return whether a file of rows, named without its ending, is a compacted one: names of units hold two hyphens in a row."""
    return stem.startswith("compacted-") and _NAME.fullmatch(stem) is not None


def units(path: str, data: bytes | None) -> set[str]:
    """Return the names of the units in a compacted file. Raises BadInput if it is damaged: there is no other copy."""
    try:
        column = pq.ParquetFile(io.BytesIO(data or b""), page_checksum_verification=True).read(["unit"])["unit"]
    except DAMAGED as error:
        raise _broken(path, error) from None
    return set(column.unique().to_pylist())


def rows_of(file: BinaryIO, path: str, unit: str) -> pa.Table:
    """Return the rows of one unit in a compacted file; reads only the row groups with that unit. Raises BadInput."""
    try:
        found = pq.read_table(file, filters=[("unit", "==", unit)], partitioning=None, page_checksum_verification=True)
    except DAMAGED as error:
        raise _broken(path, error) from None
    if found.column_names != SCHEMA.names:
        raise BadInput(f"{path} has other columns than format 1, in which it was written: restore it")
    return found.cast(SCHEMA)


def _broken(path: str, error: BaseException) -> BadInput:
    reason = " ".join(str(error).split())[:200]
    return BadInput(f"{path} is no whole Parquet file ({reason}): restore it, as it is the only copy of its rows")
