"""Define `barrage status`: show how far a campaign is, from the files of its store alone."""

from contextlib import suppress
from typing import Annotated

import typer

from pipeline.cli.common import StoreUrl, out

TERMINAL_SECONDS, LOG_SECONDS = 5.0, 60.0
"""Between two screens of `--watch`."""


def status(
    store: StoreUrl,
    watch: Annotated[bool, typer.Option("--watch", help="refresh the screen until all is done")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.1, help="seconds between two refreshes; default: 5 in a terminal, 60 in a log")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print everything as JSON, for programs")] = False,
    files: Annotated[
        int | None, typer.Option(min=1, help="the most result files to read, for accuracy and cost; default: 2000")
    ] = None,
) -> None:
    """Show how far a campaign is, from its files alone: barrage status stores/demo --watch"""
    from pipeline.status import screen
    from pipeline.status.summary import FILES, Reader

    reader = Reader(store, files or FILES)
    if json:
        print(screen.to_json(reader.status()))
    elif watch:
        with suppress(KeyboardInterrupt):
            screen.watch(reader.status, out, every or (TERMINAL_SECONDS if out.is_terminal else LOG_SECONDS))
    else:
        screen.show(reader.status(), out)
