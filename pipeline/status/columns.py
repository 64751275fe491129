"""Lay out a table of cells that fits the terminal: in a narrow one, the least important columns are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Column:
    """Hold a column: its head, one text a cell, and its rank. Columns of a high rank are left out first, empty ones always."""

    head: str
    rank: int
    texts: Sequence[str]

    @property
    def width(self) -> int:
        """Return the width of the longest line, in characters."""
        return max(len(line) for text in (self.head, *self.texts) for line in text.split("\n"))


def table(cells: Sequence[str], columns: Sequence[Column], width: int) -> Table:
    """Return a table with one row a cell for a terminal of `width` characters; names longer than half of it are folded."""
    found = [column for column in columns if any(column.texts)]
    room = width - 4 - min(max(map(len, cells), default=4), width // 2)
    while found and sum(2 + column.width for column in found) > room:
        found.remove(max(found, key=lambda column: column.rank))
    body = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    body.add_column("cell", overflow="fold")
    for column in found:
        body.add_column(column.head, justify="right", no_wrap=True)
    for place, cell in enumerate(cells):
        body.add_row(cell, *(column.texts[place] for column in found))
    return body
