"""barrage compact: merge the many small files of rows of a store into few large ones."""

from typing import Annotated

import typer

from pipeline.cli.common import StoreUrl, answer
from pipeline.errors import BadInput


def compact(
    store: StoreUrl,
    cell: Annotated[str | None, typer.Option(help="only this cell; default: all")] = None,
) -> None:
    """Merge a store's many small files of rows into few large ones, at any time: barrage compact stores/demo"""
    from pipeline.campaigns.job import opened
    from pipeline.store.compaction import Compacted
    from pipeline.store.compaction import compact as merge
    from pipeline.store.layout import Store

    cells = list(opened(store).cells)
    if cell is not None and cell not in cells:
        raise BadInput(f"--cell {cell}: store {store} has the cells {', '.join(cells)}")
    merged, left = 0, 0
    for name in [cell] if cell else cells:
        for found in merge(Store(store), name):
            if isinstance(found, Compacted):
                merged += found.units
                text = f"{found.file}: {found.units:,} units, {found.rows:,} rows, {found.bytes / 1e6:,.1f} MB"
            else:
                left, text = left + 1, found
            answer(text)
    answer(f"{merged:,} units compacted, {left:,} left alone" if merged or left else "nothing to compact")
    raise typer.Exit(1 if left else 0)
