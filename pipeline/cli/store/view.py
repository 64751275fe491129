"""Define `barrage view`: show stores in a browser while they grow, or write the same as files."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import completion
from pipeline.cli.common import Modules, allow, answer, note


def view(
    store: Annotated[
        list[str],
        typer.Argument(
            help="folders of campaigns' results, or their URLs such as s3://bucket/demo", autocompletion=completion.stores
        ),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="the port on this machine; default: any that is free")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
    export: Annotated[
        Path | None, typer.Option(help="write the page as files into this new folder, for a static host or a referee, and end")
    ] = None,
    export_images: Annotated[
        int, typer.Option(min=0, help="with --export: the images of each store whose pictures are written, under every attack")
    ] = 24,
    allow_module: Modules = None,
) -> None:
    """Show stores in a browser while they grow: barrage view stores/demo"""
    allow(allow_module)
    if export is not None:
        from pipeline.view.export import Export

        Export(export, store, note).write(export_images)
        answer(f"{export / 'index.html'}: open it, or put the folder on any web server")
        return
    from pipeline.view.server.serving import serve

    def report(address: str) -> None:
        answer(address)
        note("Ctrl-C ends the page; the stores stay as they are")

    serve(store, port, browser, report)
