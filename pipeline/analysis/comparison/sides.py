"""Name what is compared: stores, or cells of them as STORE::CELL, and say which cell is held against which.

No cell has a colon in its name, and no URL of a store ends like that. A folder whose own name has `::` is taken as one if it is
there.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput

_CELL = re.compile(r"(.+)::([A-Za-z0-9][A-Za-z0-9_.-]*)", re.DOTALL)
"""A store, and the name of a cell as campaign files allow it."""


@dataclass(frozen=True)
class Side:
    """Hold a store, a folder or a URL, and the name of one of its cells; None: those that match the cells of the other side."""

    store: str
    cell: str | None = None

    @classmethod
    def of(cls, text: "str | Side") -> "Side":
        """Return the side that a text such as stores/demo or s3://bucket/demo::lite0-bart5-pgd names."""
        if isinstance(text, Side):
            return text
        found = _CELL.fullmatch(text)
        return cls(found[1], found[2]) if found and not Path(text).is_dir() else cls(text)

    def __str__(self) -> str:
        return self.store if self.cell is None else f"{self.store}::{self.cell}"


Cells = Callable[[str], Sequence[str]]
"""The cells of a store that have rows, in the order of its campaign."""

Pair = tuple[Side, Side]
"""A baseline and what is compared with it, both with a cell."""


def matched(sides: Sequence[Side], cells: Cells, only: Collection[str] = ()) -> tuple[list[Pair], list[str], list[Side]]:
    """Return the pairs of cells to compare, the first side being the baseline, and a line for each cell without a partner.

    The last list are the cells that another store lacks: cells of the baseline without a partner there.

    sides  stores or cells; of one store alone, the first of its cells in `only` is the baseline of the others
    only   the cells to compare; default: all that both stores have
    Two stores are compared cell by cell, by name. Where no name is in both and each has one cell, these two are compared.
    Raises BadInput if there is nothing to compare.
    """
    first, *others = sides
    if not others:
        return _within(first, list(dict.fromkeys(only)), cells(first.store)), [], []
    mine = _chosen(first, cells, only)
    pairs, notes, lacking = list[Pair](), list[str](), list[Side]()
    for other in others:
        theirs = _chosen(other, cells, only)
        found = [(cell, cell) for cell in mine if cell in theirs]
        if len(mine) == len(theirs) == 1 and (not found or first.cell or other.cell):
            found = [(mine[0], theirs[0])]
        if not found:
            raise BadInput(
                f"{first.store} and {other.store} have no cell of the same name: {_listed(mine)}; {_listed(theirs)}; name a "
                "cell of each, as STORE::CELL"
            )
        pairs += [(Side(first.store, one), Side(other.store, two)) for one, two in found]
        notes += _alone(first, mine, other, [one for one, _ in found])
        lacking += [Side(other.store, cell) for cell in mine if cell not in {one for one, _ in found}]
        notes += _alone(other, theirs, first, [two for _, two in found])
    return pairs, list(dict.fromkeys(notes)), lacking


def _chosen(side: Side, cells: Cells, only: Collection[str]) -> list[str]:
    """Return the cells of a side that may be compared. Raises BadInput for one without rows."""
    there = cells(side.store)
    wanted = [side.cell] if side.cell else list(dict.fromkeys(only))
    for cell in wanted:
        if cell not in there:
            raise BadInput(f"store {side.store} holds no rows of the cell {cell!r}: it has {_listed(there)}")
    return wanted or list(there)


def _within(side: Side, only: list[str], there: Sequence[str]) -> list[Pair]:
    """Return the pairs of cells of one store: the first against each other one."""
    if side.cell or len(only) < 2:
        raise BadInput(
            f"{side} alone is nothing to compare: give a second store, or two cells of it, such as --cell X --cell Y: it has "
            f"{_listed(there)}"
        )
    names = _chosen(side, lambda store: there, only)
    return [(Side(side.store, names[0]), Side(side.store, name)) for name in names[1:]]


def _alone(side: Side, names: Sequence[str], other: Side, found: Collection[str]) -> list[str]:
    """Return a line for each cell of a side that the other has not."""
    return [
        f"left out: {side.store} has the cell {name}, {other.store} has no rows of it" for name in names if name not in found
    ]


def _listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in one line, the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no cell with rows") + more
