"""A table of cells that fits the terminal: where there is little room, the columns that matter least are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Column:
    """A column with a text for each cell; those with the least `rank` are kept longest, one that is empty never."""

    head: str
    rank: int
    texts: Sequence[str]

    @property
    def width(self) -> int:
        return max(len(line) for text in (self.head, *self.texts) for line in text.split("\n"))


def table(cells: Sequence[str], columns: Sequence[Column], width: int) -> Table:
    """Rows of cells by name, in a terminal of so many columns; names are folded where they take more than half of it."""
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
