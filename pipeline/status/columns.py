"""Lay out a table of cells that fits the terminal: in a narrow one, the least important columns are left out.

A cell's name MODEL-DEFENSE-ATTACK is never broken inside a part, as long as the part itself fits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from pipeline.escaped import line


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
    """Return a table with one row a cell for a terminal of `width` characters, of the columns that `fitting` leaves."""
    found = fitting(cells, columns, width)
    body = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    body.add_column("cell", overflow="fold")
    for column in found:
        body.add_column(Text(column.head), justify="right", no_wrap=True)
    for place, cell in enumerate(cells):
        body.add_row(Text(parted(line(cell), width // 2)), *(Text(column.texts[place]) for column in found))
    return body


def fitting(cells: Sequence[str], columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that have room beside the names of the cells, of which none takes more than half of the width."""
    found = [column for column in columns if any(column.texts)]
    names = (parted(line(cell), width // 2).split("\n") for cell in cells)
    room = width - 4 - max((len(part) for name in names for part in name), default=4)
    while found and sum(2 + column.width for column in found) > room:
        found.remove(max(found, key=lambda column: column.rank))
    return found


def parted(name: str, width: int) -> str:
    """Return a name with line breaks after hyphens, so that no line is longer than `width`, if its parts allow that."""
    lines = [""]
    for part in re.findall(r"[^-]*-?", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
