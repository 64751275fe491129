"""Define `barrage export`: write the rows of a store to one Parquet file, for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import StoreUrl, answer, refuse_place


def export(
    store: StoreUrl,
    file: Annotated[Path, typer.Argument(help="the Parquet file to write, such as rows.parquet; an earlier one is replaced")],
    cell: Annotated[list[str] | None, typer.Option(help="only this cell; repeat the option for more; default: all")] = None,
) -> None:
    """Write a store's rows to one Parquet file of plain columns, for other programs: barrage export stores/demo rows.parquet"""
    from pipeline.store.export import export as write

    refuse_place(file, "FILE", "rows.parquet")
    count = write(store, file, cell)
    answer(f"{file}: {count:,} rows, {file.stat().st_size / 1e6:,.1f} MB")
