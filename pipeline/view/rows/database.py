"""Hold the scored rows of one store in memory, compressed, and answer queries while rows come in.

DuckDB reads and writes nothing else: files, extensions and its own settings are closed to it.
"""

from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.view.rows import queries
from pipeline.view.rows.columns import STORED, TOPS, quoted, share

SETTLED = 500_000
"""New rows after which all are compressed again."""


class Database:
    """Hold the rows of a store, scored under `rules`. Any thread may ask, one at a time may write."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("ATTACH ':memory:' AS scored (COMPRESS); USE scored")
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "enable_external_access"):
            self._connection.execute(f"SET {setting} = false")
        shares = [share(side, rule, top) for rule in rules for side in ("clean", "adv") for top in TOPS]
        types = {name: column.type for name, column in STORED.items()} | dict.fromkeys(shares, "DOUBLE")
        columns = ", ".join(f"{quoted(name)} {type}" for name, type in types.items())
        self._connection.execute(f"CREATE TABLE rows (place BIGINT, {columns}); SET lock_configuration = true")
        self._names, self._writing = list(types), Lock()
        self._next, self._loose = 0, 0

    def add(self, rows: pa.Table) -> None:
        """Add scored rows (`pipeline.view.rows.scored`)."""
        with self._writing:
            places = pa.array(np.arange(self._next, self._next + len(rows)))
            self._next += len(rows)
            cursor = self._cursor()
            cursor.register("added", rows.select(self._names).add_column(0, "place", places))
            cursor.execute("INSERT INTO rows SELECT * FROM added")
            cursor.unregister("added")
            self._loose += len(rows)
        if self._loose >= SETTLED:
            self.settle()

    def forget(self, cell: str) -> int:
        """Remove the rows of a cell, and return how many there were."""
        with self._writing:
            (removed,) = self._cursor().execute("DELETE FROM rows WHERE cell = ?", [cell]).fetchall()[0]
        return int(removed)

    def number(self, pictures: Sequence[dict[str, Any]]) -> None:
        """Set the column `picture` of some rows, named by `cell`, `shard` and `image_key`."""
        if not pictures:
            return
        with self._writing:
            cursor = self._cursor()
            names = ("cell", "shard", "image_key", "picture")
            cursor.register("numbered", pa.Table.from_pylist([{name: row[name] for name in names} for row in pictures]))
            same = " AND ".join(f"rows.{name} = numbered.{name}" for name in ("cell", "shard", "image_key"))
            cursor.execute(f"UPDATE rows SET picture = numbered.picture FROM numbered WHERE {same}")
            cursor.unregister("numbered")

    def settle(self) -> None:
        """Keep compressed what came since the last time, unless a query is at work."""
        with self._writing, suppress(duckdb.TransactionException):
            if self._loose:
                self._cursor().execute("CHECKPOINT scored")
                self._loose = 0

    def answer(self, query: queries.Query) -> dict[str, Any]:
        """Return what the page asked for: `total`, and of one page the `columns` and `rows`."""
        cursor = self._cursor()
        statements = (queries.of_page(query), queries.of_total(query))
        page, total = (cursor.execute(sql.text, sql.values).fetchall() for sql in statements)
        return {"total": total[0][0], "columns": queries.head(query), "rows": page}

    def table(self, sql: str, values: Sequence[Any] = ()) -> pa.Table:
        """Return what one of the program's own statements finds."""
        return self._cursor().sql(sql, params=list(values)).to_arrow_table()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own for a thread."""
        cursor = self._connection.cursor()
        cursor.execute("USE scored")
        return cursor
