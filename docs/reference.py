"""Write from the code what pages and editors say of files, commands and columns: python -m docs.reference

A page has a table between two comments; the first names the table. Running this writes what the code says now between them, and
the JSON schemas of campaign, training and cluster files.
"""

import re
from collections.abc import Callable
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
from typer import Typer
from typer.models import ArgumentInfo, OptionInfo

from barrage_plugins import builtin_only
from cluster import launchers
from docs.file_keys import Heading, about, section, sections
from docs.tables import table
from pipeline.__main__ import app, more_commands
from pipeline.config import bpda_training, campaign, classifier_training, schema
from pipeline.config.attacks import KINDS, PRESETS, Attack, ByGradient, written
from pipeline.config.defenses import DEFENSES, BarrageDefense, Defense
from pipeline.config.fields import Share
from pipeline.store.schema import SCHEMA

PAGES = Path(__file__).parent

CAMPAIGN: list[Heading] = [
    ("The whole file", campaign.Campaign),
    ("data", campaign.Data),
    ("models", campaign.Model),
    ("defenses", BarrageDefense),
    ("cells", campaign.Grid),
    ("stop", campaign.Stop),
    ("workers", campaign.Workers),
]
CLASSIFIER: list[Heading] = [
    ("A classifier: the whole file", classifier_training.ClassifierTraining),
    ("barrage", classifier_training.Barrages),
    ("attack", classifier_training.InnerPgd),
    ("distill", classifier_training.Distill),
    ("augment", classifier_training.Augment),
    ("optimizer", classifier_training.Optimizer),
    ("evaluation", classifier_training.Evaluation),
]
BPDA: list[Heading] = [("BPDA networks: the whole file", bpda_training.BpdaTraining), ("Workers of a training", Share)]
ELSEWHERE = {
    "Data": "campaign-file.md#data",
    "Model": "campaign-file.md#models",
    "Pgd": "#every-attack",
    "BarrageDefense": "#defenses",
    "Share": "#workers-of-a-training",
}
"""Where sections are that have no heading in a block of their own, by the name of their class."""


def attacks() -> str:
    """Return the keys of every attack, those that attacks by gradients add, and those that each kind has of its own."""
    by_gradient = ", ".join(f"`{name}`" for name, kind in KINDS.items() if issubclass(kind, ByGradient))
    parts = [
        f"### Every attack\n\n{section(Attack, {})}",
        f"### Attacks that follow gradients\n\n{by_gradient} take also\n\n{section(ByGradient, {}, (Attack,))}",
    ]
    for name, kind in KINDS.items():
        parts.append(f"### {name}\n\n{about(kind)}\n\n{section(kind, {}, (Attack, ByGradient))}")
    return "\n\n".join(parts)


def defenses() -> str:
    """Return the keys of every defense, and those that each kind has of its own."""
    parts = [f"## Every defense\n\n{section(Defense, {})}"]
    for name, kind in DEFENSES.items():
        parts.append(f"## {name}\n\n{about(kind)}\n\n{section(kind, {}, (Defense,))}")
    return "\n\n".join(parts)


def presets() -> str:
    """Return what each preset of an attack means."""
    found = [(f"`{name}`", f"`{written(preset.settings)}`", preset.source) for name, preset in PRESETS.items()]
    return table(("preset", "means", "source"), found)


def columns() -> str:
    """Return the columns of the rows."""
    found = [(f"`{f.name}`", _arrow(f.type), f.metadata[b"description"].decode()) for f in SCHEMA]
    return table(("column", "type", "what it holds"), found)


def commands() -> str:
    """Return every command with its example, arguments and options."""
    more_commands()
    parts = {function.__name__: _command(f"## {function.__name__}", function) for function in _shown(app)}
    for group in app.registered_groups:
        assert group.name and group.typer_instance, "a group of commands has a name"
        said = str(group.typer_instance.info.help).rpartition(": barrage ")[0]
        inner = [_command(f"### {group.name} {function.__name__}", function) for function in _shown(group.typer_instance)]
        parts[group.name] = "\n\n".join([f"## {group.name}\n\n{said}.", *inner])
    return "\n\n".join(parts[name] for name in sorted(parts))


def _shown(commands: Typer) -> list[Callable[..., Any]]:
    """Return the functions of the commands that a help shows."""
    return [c.callback for c in commands.registered_commands if c.callback and not c.hidden]


def _command(heading: str, function: Callable[..., Any]) -> str:
    """Return what a command does, its example, and its arguments and options as a table."""
    said, _, example = " ".join((function.__doc__ or "").split()).rpartition(" barrage ")
    hints, parameters = get_type_hints(function, include_extras=True), signature(function).parameters
    rows = [_parameter(name, hints[name], parameter.default) for name, parameter in parameters.items()]
    lines = table(("", "takes", "default", "what it is"), rows)
    said = said.removesuffix(":") + "." * (not said.endswith("?"))
    return f"{heading}\n\n{said}\n\n```sh\nbarrage {example}\n```\n\n{lines}"


BLOCKS: dict[str, Callable[[], str]] = {
    "campaign": lambda: sections(CAMPAIGN, ELSEWHERE),
    "attacks": attacks,
    "defenses": defenses,
    "presets": presets,
    "classifier": lambda: sections(CLASSIFIER, ELSEWHERE),
    "bpda": lambda: sections(BPDA, ELSEWHERE),
    "columns": columns,
    "commands": commands,
}
_BLOCK = re.compile(r"(<!-- (\w+): written by python -m docs\.reference -->\n).*?(<!-- end -->)", re.S)


def filled(text: str) -> str:
    """Return a page with its tables as the code has them now; what installed packages add is left out."""
    with builtin_only():
        return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def _arrow(kind: pa.DataType) -> str:
    """Return a column's type in words."""
    if pa.types.is_dictionary(kind):
        return "string, as a dictionary"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} x {kind.value_type}"
    return f"list of {_arrow(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def _parameter(name: str, hint: Any, default: Any) -> tuple[str, str, str, str]:
    """Return an argument or an option as a row of its command's table."""
    kind, *metadata = get_args(hint)
    kind = next(k for k in (*get_args(kind), kind) if k is not type(None))
    info = next(found for found in metadata if isinstance(found, ArgumentInfo | OptionInfo))
    own = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]  # typer moves the first
    long = name.replace("_", "-")
    options = own or [f"--{long}", f"--no-{long}"][: 1 + (kind is bool)]
    shown = name.upper() if isinstance(info, ArgumentInfo) else ", ".join(options)
    least = f", at least {info.min:g}" if info.min is not None else ""
    shown_default = "" if default in (None, False) else f"`{getattr(default, 'value', default)}`"
    if default is Parameter.empty:
        shown_default = "**required**"
    return f"`{shown}`", _option(kind) + least, "" if kind is bool else shown_default, str(info.help)


def _option(kind: Any) -> str:
    """Return what a parameter takes, in words."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{choice.value}`" for choice in kind)
    return {int: "whole number", float: "number", bool: "", Path: "path"}.get(kind, "text")


def schemas() -> dict[Path, str]:
    """Return the JSON schemas that ship, {file: text}; the first line of a campaign file names one for editors."""
    root = PAGES.parent
    with builtin_only():
        found = {"campaigns": schema.campaign(), "campaigns/train": schema.training(), "cluster": launchers.schema()}
    return {root / folder / "schema.json": schema.to_json(content) for folder, content in found.items()}


def main() -> None:
    """Write every page that has such a table, and the schemas."""
    pages = {page: filled(page.read_text()) for page in sorted(PAGES.glob("*.md"))}
    for path, text in (pages | schemas()).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(PAGES.parent)}")


if __name__ == "__main__":
    main()
