"""barrage export: write the rows of a store to one Parquet file, for any other program."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export(
    store: Annotated[str, typer.Argument(help="the folder of a campaign's results, or its URL such as s3://bucket/demo")],
    file: Annotated[Path, typer.Argument(help="the Parquet file to write; an earlier one is replaced")],
    cell: Annotated[list[str] | None, typer.Option(help="only this cell; repeat the option for more; default: all")] = None,
) -> None:
    """Write a store's rows to one Parquet file of plain columns, for other programs: barrage export stores/demo rows.parquet"""
    from pipeline.store.export import export as write

    count = write(store, file, cell)
    text = f"{file}: {count:,} rows, {file.stat().st_size / 1e6:,.1f} MB"
    Console().print(text, highlight=False, markup=False, soft_wrap=True)
