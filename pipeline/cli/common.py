"""Share among the commands what means the same in all of them: consoles, options, the default store, this machine's device."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli import completion
from pipeline.config.shipped import shipped
from pipeline.errors import BadInput
from pipeline.escaped import line

if TYPE_CHECKING:
    import torch

    from pipeline.config.fields import Share

out, err = Console(), Console(stderr=True)


def note(text: object, alarm: str = "") -> None:
    """Print one line for the person on stderr, with `alarm` before it in red."""
    err.print(Text.assemble((line(alarm), "red"), line(text)), soft_wrap=True)


def answer(text: object) -> None:
    """Print one line of what the command was asked for on stdout."""
    out.print(Text(line(text)), soft_wrap=True)


def shown(text: object) -> Text:
    """Return a text of data for a cell of a table: one line, in which nothing is markup."""
    return Text(line(text))


def file_or_shipped(path: Path | None) -> Path | None:
    """Return a path, or the file that comes with barrage where only that exists: then say so."""
    found = shipped(path) if path else None
    if found != path:
        note(f"{path} is not in this folder: taken from {found}, which came with barrage")
    return found


def found_file(context: typer.Context, path: Path | None) -> Path | None:
    """Return the file that an argument names, as `file_or_shipped` does; while a shell completes a line, without a word."""
    return path if context.resilient_parsing else file_or_shipped(path)


CampaignFile = Annotated[
    Path,
    typer.Argument(
        help="a campaign file, such as campaigns/demo.yaml", callback=found_file, autocompletion=completion.campaigns
    ),
]
TrainingFile = Annotated[
    Path,
    typer.Argument(
        help="a training file, such as campaigns/train/cifar10-bart.yaml",
        callback=found_file,
        autocompletion=completion.trainings,
    ),
]
StoreUrl = Annotated[
    str,
    typer.Argument(
        help="the folder of a campaign's results, or its URL such as s3://bucket/demo", autocompletion=completion.stores
    ),
]
Cells = Annotated[
    list[str] | None,
    typer.Option("--cell", help="only this cell; repeat the option for more; default: all", autocompletion=completion.cells),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        help="a decision rule, such as single or vote; repeat the option for more; default: all",
        autocompletion=completion.rules,
    ),
]
Here = Annotated[bool, typer.Option("--here", help="work in this process, without Ray: for a debugger")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="use only the first images, this many, in place of the file's data.limit; a store keeps its limit",
    ),
]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-module",
        help="a module that may be imported, also from the campaign's folder: its functions make models (architecture "
        "module:function), its BARRAGE_PLUGINS add transforms, attacks and other kinds; repeat the option for more; the "
        "environment variable BARRAGE_ALLOW_MODULES does the same",
    ),
]


class Stored(Protocol):
    """Describe a campaign or a training: it has a name, and perhaps a store of its own."""

    @property
    def name(self) -> str: ...

    @property
    def store(self) -> str | None: ...


def store_of(config: Stored, store: str | None) -> str:
    """Return where results go: `store` if it is given, else the file's own store, else stores/NAME."""
    return store or config.store or f"stores/{config.name}"


def allow(modules: Iterable[str] | None, file: Path | None = None) -> None:
    """Let this process import these modules, for the models and the kinds that campaigns name; also from beside `file`."""
    from barrage_plugins import allow as allow_modules

    allow_modules(modules or (), [str(file.resolve().parent)] if file else ())


def device(share: "Share") -> "torch.device":
    """Return what this process computes on if it is to have a worker's share: its GPU, or its CPU where there is none."""
    from pipeline.execution.worker import device_of

    return device_of(share.gpus)


def refuse_place(path: Path | None, option: str, example: str) -> None:
    """Raise BadInput if no file can be written at `path`: it is a folder, or its folder is not there or not writable."""
    if path is None:
        return
    if path.is_dir():
        raise BadInput(f"{option} {path} is a folder: give a file, such as {path / example}")
    if not path.parent.is_dir():
        raise BadInput(f"{option} {path}: there is no folder {path.parent}: make it first, or give a file in another one")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadInput(f"{option} {path} cannot be written: give another file, or change the permissions")
