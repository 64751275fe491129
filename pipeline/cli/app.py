"""Put the commands together as `barrage`, and turn errors into one line and an exit code."""

import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Annotated

import typer

from barrage_plugins import PluginError
from pipeline import extras
from pipeline.cli.common import note
from pipeline.cli.files.board import board
from pipeline.cli.files.gallery import gallery
from pipeline.cli.files.pack import pack
from pipeline.cli.files.schema import schema
from pipeline.cli.store.compare import compare
from pipeline.cli.store.export import export
from pipeline.cli.store.replay import replay
from pipeline.cli.store.report import report
from pipeline.cli.store.seal import compact, seal
from pipeline.cli.store.show import show
from pipeline.cli.store.status import status
from pipeline.cli.store.table import table
from pipeline.cli.store.verify import verify
from pipeline.cli.store.view import view
from pipeline.cli.warning_lines import show_warnings_as_lines
from pipeline.cli.work.check import check
from pipeline.cli.work.demo import demo
from pipeline.cli.work.judge import judge
from pipeline.cli.work.plan import plan
from pipeline.cli.work.run import run
from pipeline.cli.work.train import train
from pipeline.errors import BadInput, ClusterLost, StorageError

COMMANDS = {
    "Run": (demo, run, judge, plan, check, train),
    "Read a store": (status, table, compare, view, report, show, replay, verify, seal, export),
    "Make files": (pack, gallery, schema),
}
"""The commands under the headings of `barrage --help`. Each module imports what its command needs only when that runs."""

app = typer.Typer(
    help="Evaluate randomised defenses of image classifiers. Start with: barrage demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for heading, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)
app.command(hidden=True)(compact)
app.add_typer(board, name="board", rich_help_panel="Make files")


def _print_version(context: typer.Context, asked: bool) -> None:
    if not asked or context.resilient_parsing:  # as while a shell completes a line
        return
    from pipeline import provenance

    found = {"barrage": provenance.release(), "commit": provenance.commit()}
    found |= {package: _version(package) for package in ("torch", "ray")}
    print(", ".join(f"{name} {number}" for name, number in found.items()))
    raise typer.Exit()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the versions of barrage, torch and ray."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@lru_cache
def more_commands() -> None:
    """Add the commands of packages above this one, such as `cluster`: they name themselves as entry points."""
    for point in entry_points(group="barrage.commands"):
        point.load()(app)


def main() -> None:
    """Run the command. Exit code 2 and one line for bad input, 1 where Ray itself is gone, 130 after Ctrl-C."""
    show_warnings_as_lines()
    try:
        with extras.explained():
            more_commands()
            app()
    except (BadInput, PluginError, StorageError) as error:
        note(f" {error}", "barrage:")
        sys.exit(2)
    except ClusterLost as error:
        note(f" {error}; run the same command again: it resumes from the checkpoints", "barrage:")
        os._exit(1)  # what is left of Ray in this process would wait for an answer
