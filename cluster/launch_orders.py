"""Recipes: plain files with {{ placeholders }}, filled from a campaign and a cluster file, submitted by the site's own tool."""

import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from barrage_plugins import ALLOW
from pipeline.config.campaign import Campaign
from pipeline.errors import BadInput

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Order:
    """What is launched: a campaign file, as given and as read, its store, and the folder that filled recipes go to."""

    file: Path
    campaign: Campaign
    store: str
    folder: Path

    @property
    def name(self) -> str:
        """Of the job: letters, digits and dashes, as every scheduler takes them."""
        return "barrage-" + (re.sub(r"[^a-z0-9]+", "-", self.campaign.name.lower()).strip("-")[:40].rstrip("-") or "campaign")


@dataclass(frozen=True)
class Launch:
    """Filled recipes by file name, the commands that submit them, and what to tell the user."""

    files: dict[str, str]
    commands: list[list[str]]
    follow: list[str]
    stop: list[str]


class Launcher(Protocol):
    """One kind of cluster."""

    @property
    def order(self) -> Order:
        """What is launched."""
        ...

    def launch(self) -> Launch:
        """The recipes filled; asks nobody. Raises BadInput."""
        ...

    def check(self, launch: Launch) -> None:
        """Asks the site's own tool whether this can work. Submits nothing. Raises BadInput."""
        ...


def fill(name: str, own: str | None, **values: Any) -> str:
    """A recipe of `cluster/`, or the site's `own` in its place, with every placeholder filled. Raises BadInput."""
    shipped = FileSystemLoader(HERE)
    try:
        loader = ChoiceLoader([DictLoader({name: Path(own).read_text()}), shipped]) if own else shipped
    except OSError as error:
        raise BadInput(f"recipe {own}: {error.strerror}: give the path of an edited copy of cluster/{name}") from None
    recipes = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    recipes.filters |= {"sh": lambda value: shlex.quote(str(value)), "yaml": json.dumps, "block": _block}
    try:
        return recipes.get_template(name).render(values)
    except TemplateError as error:
        raise BadInput(f"recipe {own or f'cluster/{name}'}: {error}: keep to the placeholders of cluster/{name}") from None


def _block(value: Any, indent: int) -> str:
    """A value as lines of YAML."""
    return textwrap.indent(yaml.safe_dump(value, sort_keys=False).rstrip(), " " * indent)


def variables(own: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of the campaign's processes: those of the cluster file, and whose code models may call."""
    allowed = os.environ.get(ALLOW)
    return ({ALLOW: allowed} if allowed else {}) | dict(own)


def tool(name: str, why: str) -> None:
    """Raises BadInput where a command is not installed."""
    if shutil.which(name) is None:
        raise BadInput(f"{name} is not installed here: {why}")


def ask(command: list[str], text: str = "", patience: float = 60) -> subprocess.CompletedProcess[str]:
    """What a site's tool answers, with `text` on its standard input. Raises BadInput if it does not answer in time."""
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise BadInput(f"{shlex.join(command)} gave no answer in {patience:.0f} s: is the cluster reachable?") from None


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said."""
    return " ".join((done.stderr or done.stdout).split())[:500]


def submit(launch: Launch, folder: Path) -> str:
    """Writes the filled recipes and hands them to the site's tool; gives what it says. Raises BadInput if it refuses."""
    for name, text in launch.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    said = []
    for command in launch.commands:
        done = ask(command, patience=3600)
        if done.returncode:
            raise BadInput(f"{shlex.join(command)} refused: {one_line(done)}")
        said.append(done.stdout.strip())
    return "\n".join(line for line in said if line)
