"""Define `barrage view`: show stores in a browser while they grow, or write the same as files."""

from typing import Annotated

import typer

from pipeline.cli.common import Modules, allow, answer, note


def view(
    store: Annotated[list[str], typer.Argument(help="folders of campaigns' results, or their URLs such as s3://bucket/demo")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="the port on this machine; default: any that is free")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
    allow_module: Modules = None,
) -> None:
    """Show stores in a browser while they grow: barrage view stores/demo"""
    allow(allow_module)
    from pipeline.view.serving import serve

    def told(address: str) -> None:
        answer(address)
        note("Ctrl-C ends the page; the stores stay as they are")

    serve(store, port, browser, told)
