"""Many small files of rows into few large ones, at any time, by anybody, and killed at any moment.

A compacted file is made in three steps, each of which leaves the store right:

1. its list of units, `compacted/cell=<cell>/<number>.txt`. Numbers count up and a list is created only if its number is free,
   so whoever writes one has seen all lists before it: no unit is in two.
2. its rows, `results/cell=<cell>/compacted-<number>.parquet`, whole or not at all. From here on they count, and the units' own
   files do not (`Store.files`).
3. the units' own files go.

Whoever compacts next ends what was begun. A unit that is in a list is done. A worker that comes late, and finds its unit's name
free again, looks into the lists after it committed and takes its rows back (`late`).

Programs that read `results/` by a glob know nothing of lists: to them, rows of a compaction under way, or of one killed
before its end, are there twice between steps 2 and 3, and never missing.
"""

import io
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.planning.units import Unit
from pipeline.store.layout import Store
from pipeline.store.schema import DAMAGED, KEY, SCHEMA

ROWS = 100_000
"""Of a compacted file, about: 50 MB. Bounds the memory too."""

GROUP = 16_384
"""Rows of a row group: what a reader of few columns or one image skips by."""

_WHOLE: dict[str, Any] = {"partitioning": None, "page_checksum_verification": True}
"""How a file of rows is read: with no columns from its path, and not if a bit of it changed."""


@dataclass(frozen=True)
class Compacted:
    """A compacted file that was written, and how many units went into it."""

    file: str
    units: int
    rows: int
    bytes: int


def compact(store: Store, cell: str) -> Iterator[Compacted | str]:
    """Compacts the committed units of a cell; yields each file, and a line on each unit's file that had to be left alone.

    Raises BadInput if an earlier compaction can not be ended, as rows it listed are gone.
    """
    left: set[str] = set()
    beaten = True
    while beaten:  # another compaction took the number: what it took is no longer ours
        number, loose = _ended(store, cell)
        waiting, beaten = deque(name for name in loose if name not in left), False
        while waiting and not beaten:
            merge = _Merge()
            while waiting and merge.rows < ROWS:
                name = waiting.popleft()
                data = store.read(_unit_file(cell, name))
                fault = merge.add(name, data) if data is not None else None  # without data, another compaction was here
                if fault:
                    left.add(name)
                    yield f"{name}: {fault}, left alone"
            if len(merge.units) > 1:
                beaten = not store.create(f"compacted/cell={cell}/{number:06d}.txt", "\n".join(merge.units).encode())
                if not beaten:
                    written = _written(store, f"results/cell={cell}/compacted-{number:06d}.parquet", merge)
                    for name in merge.units:
                        store.remove(_unit_file(cell, name))
                    yield written
                    number += 1


def late(store: Store, unit: Unit) -> bool:
    """Whether a unit's rows are in a compacted file that is there."""
    return any(unit.name in units and _there(store, file) for file, units in store.lists(unit.cell).items())


def twice(store: Store) -> dict[str, int]:
    """Units whose own files are still there, by the compacted file that holds their rows: a compaction did not end."""
    own, lists = store.own().keys(), store.lists()
    counts = {file: len(own & set(lists.get(file, ()))) for file in store.compacted()}
    return {file: count for file, count in counts.items() if count}


def tables(store: Store, units: Iterable[Unit]) -> Iterator[tuple[Unit, pa.Table | str]]:
    """The rows of each unit, in the order of the units, or why there are none."""
    units = list(units)
    lists = {cell: store.lists(cell) for cell in {unit.cell for unit in units}}
    merged: dict[str, pa.Table | str] = {}
    for file, listed in ((file, listed) for some in lists.values() for file, listed in some.items()):
        names = {unit.name for unit in units}.intersection(listed)
        if names and _there(store, file):
            merged |= dict.fromkeys(names, f"its rows are missing from {file}") | _taken(store, file, sorted(names))
    for unit in units:
        yield unit, merged[unit.name] if unit.name in merged else _own(store, unit)


def _taken(store: Store, file: str, units: list[str]) -> dict[str, pa.Table | str]:
    """The rows of some units of a compacted file, by unit; of all of them, what is wrong with the file."""
    try:
        found = pq.read_table(io.BytesIO(store.read(file) or b""), filters=[("unit", "in", units)], **_WHOLE)
    except DAMAGED as error:
        return dict.fromkeys(units, f"{file} is no Parquet file of rows: {' '.join(str(error).split())[:200]}")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(found["unit"].to_pylist()):
        places.setdefault(name, []).append(place)
    return {name: found.take(some) for name, some in places.items()}


def _own(store: Store, unit: Unit) -> pa.Table | str:
    data = store.read(store.results(unit))
    if data is None:
        return "its rows are gone"
    try:
        return pq.read_table(io.BytesIO(data), **_WHOLE)
    except DAMAGED as error:
        return f"no Parquet file: {error}"


def _ended(store: Store, cell: str) -> tuple[int, list[str]]:
    """Ends what earlier compactions began; gives the next number, and the units that are in no list, in order."""
    own, lists = store.own(cell), store.lists(cell)
    for file, units in lists.items():
        if not _there(store, file):
            _end(store, cell, file, units)
        for name in own.keys() & set(units):
            store.remove(own[name])
    return len(lists), sorted(own.keys() - set().union(*lists.values()))


def _end(store: Store, cell: str, file: str, units: list[str]) -> None:
    """Writes the rows of a list."""
    merge = _Merge()
    for name in units:
        data = store.read(_unit_file(cell, name))
        fault = merge.add(name, data) if data is not None else "its file is gone"
        if fault and _there(store, file):
            return  # another one was faster
        if fault:
            raise BadInput(f"store {store.url}: {file} was begun and can not be ended, {name}: {fault}; restore that file")
    _written(store, file, merge)


def _written(store: Store, file: str, merge: "_Merge") -> Compacted:
    data = merge.data()
    store.create(file, data)  # if it is there, it was made of the same units
    return Compacted(file, len(merge.units), merge.rows, len(data))


def _there(store: Store, file: str) -> bool:
    return store.entry(file) is not None


def _unit_file(cell: str, name: str) -> str:
    return f"results/cell={cell}/{name}.parquet"


class _Merge:
    """A compacted file in the making: full row groups are written, and only a part of one is held as rows."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self.rows = 0
        self._held: list[pa.Table] = []
        self._holds = 0
        self._buffer = io.BytesIO()
        self._writer: Any = None

    def add(self, name: str, data: bytes) -> str | None:
        """Takes in the rows of a unit's file, or says why not."""
        try:
            rows = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()
        except DAMAGED as error:
            return f"no Parquet file ({' '.join(str(error).split())[:100]})"
        if not rows.schema.equals(SCHEMA):
            return "other columns than this version writes"
        if rows.num_rows == 0 or set(rows["unit"].to_pylist()) != {name}:
            return "no rows of this unit"
        if self._writer is None:
            about = json.loads((rows.schema.metadata or {}).get(KEY, b"{}"))
            self._writer = pq.ParquetWriter(
                self._buffer,
                SCHEMA.with_metadata({KEY: json.dumps(about, sort_keys=True)}),
                compression="zstd",
                write_page_checksum=True,
            )
        self.units.append(name)
        self.rows += rows.num_rows
        self._held.append(rows)
        self._holds += rows.num_rows
        if self._holds >= GROUP:
            self._flush()
        return None

    def data(self) -> bytes:
        """The whole file."""
        self._flush()
        self._writer.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks(), row_group_size=2 * GROUP)
            self._held, self._holds = [], 0
