"""The page of commands names the options that exist, and no others."""

import re

import pytest
import typer

from pipeline.cli.app import app, more_commands
from tests.support.source.pages import ROOT

PARTS = re.split(r"^#{2,3} ", (ROOT / "docs" / "commands.md").read_text(), flags=re.M)[1:]


@pytest.mark.parametrize("part", PARTS, ids=[part.partition("\n")[0] for part in PARTS])
def test_options_of_a_command(part):
    more_commands()
    command = typer.main.get_command(app)
    for name in part.partition("\n")[0].split():
        command = command.commands[name]  # type: ignore[attr-defined]
    first = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    named = {option for text in first for option in re.findall(r"--?[a-z][a-z-]*", text)}
    assert named == {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")} - {"--help"}
