"""Share among the commands what means the same in all of them: consoles, options, the default store, this machine's device."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.console import Console
from rich.text import Text

from pipeline.config.shipped import shipped
from pipeline.errors import BadInput

if TYPE_CHECKING:
    import torch

    from pipeline.config.fields import Share

out, err = Console(), Console(stderr=True)


def note(text: str, alarm: str = "") -> None:
    """Print one line for the person on stderr, with `alarm` before it in red."""
    err.print(Text.assemble((alarm, "red"), text), soft_wrap=True)


def answer(text: str) -> None:
    """Print one line of what the command was asked for on stdout."""
    out.print(Text(text), soft_wrap=True)


def file_or_shipped(path: Path | None) -> Path | None:
    """Return a path, or the file that comes with barrage where only that exists: then say so."""
    found = shipped(path) if path else None
    if found != path:
        note(f"{path} is not in this folder: taken from {found}, which came with barrage")
    return found


CampaignFile = Annotated[Path, typer.Argument(help="a campaign file, such as campaigns/demo.yaml", callback=file_or_shipped)]
TrainingFile = Annotated[
    Path, typer.Argument(help="a training file, such as campaigns/train/cifar10-bart.yaml", callback=file_or_shipped)
]
StoreUrl = Annotated[str, typer.Argument(help="the folder of a campaign's results, or its URL such as s3://bucket/demo")]
Here = Annotated[bool, typer.Option("--here", help="work in this process, without Ray: for a debugger")]
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


def refuse_folder(path: Path | None, option: str, example: str) -> None:
    """Raise BadInput if `path` is a folder, so that no file can be written there."""
    if path is not None and path.is_dir():
        raise BadInput(f"{option} {path} is a folder: give a file, such as {path / example}")
