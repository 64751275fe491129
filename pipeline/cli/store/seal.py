"""Define `barrage seal`: copy the many small files of rows of each cell into one, for fast reading."""

from typing import Annotated

import typer

from pipeline.cli import completion
from pipeline.cli.common import StoreUrl, answer, note
from pipeline.errors import BadInput
from pipeline.escaped import command

Cell = Annotated[str | None, typer.Option(help="only this cell; default: all", autocompletion=completion.cells)]


def seal(store: StoreUrl, cell: Cell = None) -> None:
    """Copy each cell's many small files of rows into one that is fast to read, at any time: barrage seal stores/demo"""
    from pipeline.store.committed import sources
    from pipeline.store.layout import Store
    from pipeline.store.sealed import seal as seal_cell

    opened, failed = Store(store), 0
    for name in _chosen(store, list(sources(opened)), cell):
        try:
            made = seal_cell(opened, name)
        except BadInput as error:
            failed += 1
            answer(f"{name}: not sealed: {error}")
            continue
        if made:
            state = "sealed" if made.new else "is sealed already"
            answer(f"{name}: {state}, {made.rows:,} rows of {made.files:,} files, {made.bytes / 1e6:,.1f} MB")
    raise typer.Exit(1 if failed else 0)


def compact(store: StoreUrl, cell: Cell = None) -> None:
    """Seal a store; deprecated, removed in 0.3, as sealing took the place of merging: barrage compact stores/demo"""
    note(f"`barrage compact` is deprecated and seals now: use `{command('barrage', 'seal', store)}`")
    seal(store, cell)


def _chosen(store: str, cells: list[str], cell: str | None) -> list[str]:
    """Return the cells to seal: all, or the one that was asked for. Raises BadInput if there are none, or not that one."""
    if not cells:
        raise BadInput(f"store {store} holds no rows: give the folder that `barrage run` wrote to, or wait for a first unit")
    if cell is not None and cell not in cells:
        raise BadInput(f"--cell {cell}: store {store} has rows of {', '.join(cells)}")
    return cells if cell is None else [cell]
