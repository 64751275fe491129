"""Define `barrage report`: write a page that opens offline, and figures for papers."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Modules, StoreUrl, allow, answer, refuse_place
from pipeline.errors import BadInput


def report(
    store: StoreUrl,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the page to write; default: report.html")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="a folder to write Table 1 (CSV, LaTeX) and curves (PDF, PNG) to")
    ] = None,
    allow_module: Modules = None,
) -> None:
    """Write a page that opens offline, and figures for papers: barrage report stores/demo -o report.html --figures figures/"""
    allow(allow_module)
    if output is None and figures is None:
        output = Path("report.html")
    refuse_place(output, "-o", "report.html")
    if figures is not None and not (figures if figures.is_dir() else figures.parent).is_dir():
        raise BadInput(f"--figures {figures}: there is no folder {figures.parent}: make it first, or give another one")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise BadInput(f"--figures {figures} is a file: give a folder, which is made where there is none")
    if output:
        from pipeline.reports.page import write as write_page

        content = write_page(store, output)
        half = "" if content.status.complete else ", of a store that is half finished"
        answer(f"{output}: {output.stat().st_size / 1e6:.1f} MB{half}")
    if figures:
        from pipeline.reports.figures import write

        for path in write(store, figures):
            answer(str(path))
