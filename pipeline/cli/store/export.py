"""Define `barrage export`: write the rows of a store for other programs, or as a dataset of the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Cells, StoreUrl, answer, refuse_place
from pipeline.errors import BadInput
from pipeline.escaped import command


def export(
    store: StoreUrl,
    file: Annotated[
        Path,
        typer.Argument(
            help="the Parquet file to write, such as rows.parquet, in place of an earlier one; with --hugging-face a new folder"
        ),
    ],
    cell: Cells = None,
    hugging_face: Annotated[
        bool, typer.Option("--hugging-face", help="write a dataset of the Hugging Face Hub: a Parquet file a cell, and a card")
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="of the dataset, as the Hub writes it, such as cc-by-4.0; default: the card names none")
    ] = None,
) -> None:
    """Write a store's rows to one Parquet file of plain columns, for other programs: barrage export stores/demo rows.parquet"""
    if hugging_face:
        _publish(store, file, cell, license)
        return
    from pipeline.store.export import export as write

    if license:
        raise BadInput(f"--license {license} is for a dataset's card: add --hugging-face, or leave it out")
    refuse_place(file, "FILE", "rows.parquet")
    count = write(store, file, cell)
    answer(f"{file}: {count:,} rows, {file.stat().st_size / 1e6:,.1f} MB")


def _publish(store: str, folder: Path, cells: list[str] | None, licence: str | None) -> None:
    from pipeline.reports.hugging_face import publish

    count = publish(store, folder, cells, licence)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    answer(f"{folder}: {count:,} rows, {size / 1e6:,.1f} MB; read {folder / 'README.md'} before you publish it")
    answer(f"upload it: {command('hf', 'upload', 'USER/NAME', folder, '--repo-type', 'dataset')}")
