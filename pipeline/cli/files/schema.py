"""Define `barrage schema`: write the JSON schema of campaign, training and cluster files, for editors."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import answer, refuse_place
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from pipeline.config.schema import Schema


def _campaign() -> "Schema":
    from pipeline.config.schema import campaign

    return campaign()


def _training() -> "Schema":
    from pipeline.config.schema import training

    return training()


FILES: dict[str, "Callable[[], Schema]"] = {"campaign": _campaign, "training": _training}
"""The kinds of files; packages above this one add theirs (`barrage.commands`)."""


def schema(
    kind: Annotated[
        str, typer.Argument(help="the kind of file: campaign, training or cluster", autocompletion=lambda: list(FILES))
    ] = "campaign",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the file to write; default: print it")] = None,
) -> None:
    """Write the JSON schema by which editors check and complete a kind of file: barrage schema campaign -o schema.json"""
    if kind not in FILES:
        raise BadInput(f"schema {kind}: expected one of {', '.join(FILES)}")
    refuse_place(output, "-o", "schema.json")
    from pipeline.config.schema import to_json

    text = to_json(FILES[kind]())
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)
        answer(str(output))
