"""Read the rows of a store that are new since the last time, file by file: each committed unit once, or a cell's sealed copy.

A cell of which any file was removed or made again is forgotten, and read anew.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.scoring.summaries import Tally
from pipeline.storage import urls
from pipeline.storage.files import Entry
from pipeline.store import committed, rows
from pipeline.store.layout import Store, sealed_name
from pipeline.view.rows import scored
from pipeline.view.rows.database import Database

PIECE = 1 << 14
"""Rows that are scored at a time, of one cell: several small files together."""

INSERTED = 1 << 16
"""Rows that enter the database at a time, at least: many small steps take longer."""

ORIGIN = ("device", "commit", "versions")
"""The columns that say on which machine, and by which code, a row was made."""


@dataclass
class Seen:
    """Hold what was read of one cell: its units with their files, the sums over its rows, and {origin: (rows, seconds)}."""

    units: dict[str, Entry] = field(default_factory=dict)
    tally: Tally | None = None
    origins: dict[tuple[str, ...], tuple[int, float]] = field(default_factory=dict)

    @property
    def times(self) -> dict[str, float]:
        """Return when each unit was committed, in seconds since 1970."""
        return {unit: entry.modified for unit, entry in self.units.items()}


class _File(NamedTuple):
    """Name a file to read: its cell, the cell's identity, and the units that it holds."""

    cell: str
    identity: str
    name: str
    units: Mapping[str, Entry]


class _Piece(NamedTuple):
    """Hold rows of one cell, scored, with their sums."""

    cell: str
    rows: pa.Table
    tally: Tally
    origins: dict[tuple[str, ...], tuple[int, float]]


class Reading:
    """Keep the database of a store up to date. `rows` counts what it holds; `version` grows with every change."""

    def __init__(self, url: str, rules: Sequence[str], database: Database) -> None:
        self.cells: dict[str, Seen] = {}
        self.names: Sequence[str] = ()
        """Of the classes, by label."""
        self.rows, self.version = 0, 0
        self._store, self._rules, self._database = Store(url, urls.ANSWER_SECONDS), rules, database
        self._damaged: dict[Entry, str] = {}
        self._torn: set[str] = set()

    def update(self, report: Callable[[], None]) -> tuple[set[str], list[str]]:
        """Read what is new. Return the cells that changed, and what is wrong, a line for each damaged file.

        report  is called after each piece of rows
        Raises BadInput for a store with rows but no campaign, or with rows outside its plan; StorageError.
        """
        plan, found = committed.units(self._store)
        entries = {entry.name: entry for entry in self._store.entries()}
        units = {cell: {unit: entries[file] for unit, file in of.items() if file in entries} for cell, of in found.items()}
        changed = self._forget_outdated(units)
        files = list(self._files(plan.cells, units))
        waiting = list[_Piece]()
        for piece in map_ordered(self._digested, self._pieces(files), os.cpu_count() or 1):
            waiting.append(piece)
            if sum(len(held.rows) for held in waiting) >= INSERTED:
                self._add(waiting)
                report()
        self._add(waiting)
        changed |= {file.cell for file in files}
        self.version += bool(changed)
        for cell in self._torn:  # the rows that came before the damage; the other files are read anew
            self._forget(cell)
        self._torn.clear()
        self._database.settle()
        there = set(entries.values())
        copies = set(map(_copy, self._store.sealed()))
        self._damaged = {entry: line for entry, line in self._damaged.items() if entry in there | copies}
        return changed, [*self._damaged.values(), *self._doubles(changed)]

    def _add(self, waiting: list[_Piece]) -> None:
        """Add pieces to the database and to the sums, and empty the list."""
        for piece in waiting:
            seen = self.cells[piece.cell]
            seen.tally = piece.tally if seen.tally is None else seen.tally + piece.tally
            seen.origins = added(seen.origins, piece.origins)
        if waiting:
            found = pa.concat_tables([piece.rows for piece in waiting])
            self._database.add(found)
            self.rows += len(found)
        waiting.clear()

    def _forget_outdated(self, units: Mapping[str, Mapping[str, Entry]]) -> set[str]:
        """Forget the cells of which a unit that was read is gone or was made again; return them."""
        outdated = {cell for cell, seen in self.cells.items() if not seen.units.items() <= units.get(cell, {}).items()}
        for cell in outdated:
            self._forget(cell)
        return outdated

    def _forget(self, cell: str) -> None:
        self.rows -= self._database.forget(cell)
        del self.cells[cell]

    def _files(self, identities: Mapping[str, str], units: Mapping[str, Mapping[str, Entry]]) -> Iterator[_File]:
        """Yield the files that hold the units that were not read, each once; of a whole cell its sealed copy, if any."""
        copies = self._store.sealed()
        for cell, present in units.items():
            seen = self.cells.setdefault(cell, Seen())
            copy = sealed_name(cell, committed.in_order(entry.name for entry in present.values()))
            if copy in copies and not seen.units and _copy(copy) not in self._damaged:
                yield _File(cell, identities[cell], copy, present)
                continue
            inside: dict[str, dict[str, Entry]] = {}
            for unit, entry in present.items():
                if unit not in seen.units and entry not in self._damaged:
                    inside.setdefault(entry.name, {})[unit] = entry
            for name in committed.in_order(inside):
                yield _File(cell, identities[cell], name, inside[name])

    def _pieces(self, files: Sequence[_File]) -> Iterator[tuple[str, pa.Table]]:
        """Yield the rows of files, some thousand of one cell at a time."""
        waiting, cell = list[pa.RecordBatch](), ""
        for file, opened in zip(files, map_ordered(self._opened, files), strict=True):
            if file.cell != cell and waiting:
                yield cell, _merged(waiting)
                waiting = []
            cell = file.cell
            for batch in self._batches(file, opened):
                waiting.append(batch)
                if sum(len(held) for held in waiting) >= PIECE:
                    yield cell, _merged(waiting)
                    waiting = []
        if waiting:
            yield cell, _merged(waiting)

    def _opened(self, file: _File) -> BinaryIO | None:
        try:
            return self._store.open(file.name)
        except FileNotFoundError:
            return None

    def _batches(self, file: _File, opened: BinaryIO | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file, and note that its units were read, or that it is damaged; nothing of one that is gone."""
        if opened is None:
            return
        path, begun = urls.join(self._store.url, file.name), False
        try:
            with opened:
                for batch in rows.read(opened, path, scored.columns(self._rules), file.identity):
                    if others := set(batch["cell"].dictionary.to_pylist()) - {file.cell}:
                        raise BadInput(f"{path} holds rows of the cell {min(map(str, others))}, not {file.cell}: restore it")
                    yield batch
                    begun = True
            self.cells[file.cell].units.update(file.units)
        except FileNotFoundError:
            pass
        except BadInput as error:
            sealed = file.name.startswith("sealed/")
            self._damaged |= dict.fromkeys([_copy(file.name)] if sealed else file.units.values(), str(error))
            self._torn |= {file.cell} if begun else set()

    def _digested(self, piece: tuple[str, pa.Table]) -> _Piece:
        cell, found = piece
        return _Piece(cell, scored.scored(found, self._rules, self.names), Tally.of(found, self._rules), _origins(found))

    def _doubles(self, cells: set[str]) -> list[str]:
        """Return a line for an image that stands twice in a cell: no table can be made then."""
        if not cells:
            return []
        twice = "SELECT cell, shard, image_key FROM rows WHERE list_contains(?, cell) GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
        text = "cell {cell} holds the image {image_key} of shard {shard} twice: `barrage verify` names the unit"
        return [text.format(**row) for row in self._database.table(twice, [sorted(cells)]).to_pylist()]


def _copy(name: str) -> Entry:
    """Return what stands for a sealed copy among damaged files: its name says of which files it was made."""
    return Entry(name, 0, 0.0)


def _merged(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()


def _origins(found: pa.Table) -> dict[tuple[str, ...], tuple[int, float]]:
    """Return the rows and seconds of each origin; rows without one are left out."""
    plain = pa.table({**{name: found[name].cast(pa.string()) for name in ORIGIN}, "seconds": found["seconds"]})
    sums = plain.drop_null().group_by(list(ORIGIN)).aggregate([("seconds", "sum"), ([], "count_all")])
    return {tuple(row[name] for name in ORIGIN): (row["count_all"], row["seconds_sum"]) for row in sums.to_pylist()}


def added(some: Mapping[Any, tuple[int, float]], more: Mapping[Any, tuple[int, float]]) -> dict[Any, tuple[int, float]]:
    """Return the sums of rows and seconds of both, by origin."""
    counts, seconds = Counter[Any](), dict[Any, float]()
    for found in (some, more):
        for origin, (count, time) in found.items():
            counts[origin] += count
            seconds[origin] = seconds.get(origin, 0.0) + time
    return {origin: (counts[origin], seconds[origin]) for origin in counts}
