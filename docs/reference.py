"""The tables of these pages that are made from the code, so that they can not drift: python -m docs.reference

A page holds a table between two comments, the first of which names it. Running this writes what the code says now between them.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa
import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo, OptionInfo

from barrage_plugins import builtin_only
from bart import BART_25
from pipeline.__main__ import app, more_commands
from pipeline.config import bpda_training, campaign, classifier_training
from pipeline.config.attacks import KINDS, Attack, ByGradient, Pgd
from pipeline.config.choices import Choice
from pipeline.config.defenses import BarrageDefense, Defense
from pipeline.config.fields import Share
from pipeline.store.schema import SCHEMA

PAGES = Path(__file__).parent

Heading = tuple[str, type[BaseModel]]
"""A heading, and what stands under it."""

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
    ("A classifier: the whole file", classifier_training.Recipe),
    ("barrage", classifier_training.Barrages),
    ("attack", classifier_training.InnerPgd),
    ("distill", classifier_training.Distill),
    ("augment", classifier_training.Augment),
    ("optimizer", classifier_training.Optimizer),
    ("evaluation", classifier_training.Evaluation),
]
BPDA: list[Heading] = [("BPDA networks: the whole file", bpda_training.Training), ("Workers of a training", Share)]
ELSEWHERE: dict[type, str] = {
    Attack: "#every-attack",
    Defense: "#defenses",
    campaign.Data: "campaign-file.md#data",
    campaign.Model: "campaign-file.md#models",
    Pgd: "#every-attack",
    Share: "#workers-of-a-training",
}
"""Sections that have their heading on another page."""


def section(model: type[BaseModel], homes: dict[type, str], without: tuple[type[BaseModel], ...] = ()) -> str:
    """A table of a section's keys; `without` those that are the same in other sections."""
    told = {name: repr(field) for other in without for name, field in other.model_fields.items()}
    own = {name: field for name, field in model.model_fields.items() if told.get(name) != repr(field)}
    names = sorted(own, key=lambda name: name != "kind")
    rows = [(f"`{name}`", _takes(own[name], homes), _unless(own[name]), own[name].description) for name in names]
    for key, *_, text in rows:
        assert text, f"{model.__name__}.{key} says nothing of itself: give its Field a description"
    return _table(("key", "takes", "default", "what it is"), rows) if rows else "Nothing else."


def sections(all_: list[Heading]) -> str:
    """Sections one after the other, each with its heading."""
    homes = ELSEWHERE | {model: "#" + _anchor(title) for title, model in all_}
    return "\n\n".join(f"## {title}\n\n{_said(model)}\n\n{section(model, homes)}" for title, model in all_)


def attacks() -> str:
    """What every attack takes, what those by gradients take besides, and what each kind has of its own."""
    parts = [
        f"### Every attack\n\n{section(Attack, {})}",
        "### Attacks that follow gradients\n\n"
        + f"{', '.join(f'`{name}`' for name, kind in KINDS.items() if issubclass(kind, ByGradient))} take also\n\n"
        + section(ByGradient, {}, (Attack,)),
    ]
    for name, kind in KINDS.items():
        parts.append(f"### {name}\n\n{_said(kind)}\n\n{section(kind, {}, (Attack, ByGradient))}")
    return "\n\n".join(parts)


def columns() -> str:
    """The columns of the rows."""
    found = [(f"`{f.name}`", _arrow(f.type), f.metadata[b"description"].decode()) for f in SCHEMA]
    return _table(("column", "type", "what it holds"), found)


def commands() -> str:
    """Every command with its example, arguments and options."""
    more_commands()
    parts = []
    for function in sorted((c.callback for c in app.registered_commands if c.callback), key=lambda found: found.__name__):
        said, _, example = (function.__doc__ or "").rpartition(" barrage ")
        hints, told = get_type_hints(function, include_extras=True), signature(function).parameters
        rows = [_parameter(name, hints[name], told[name].default) for name in told]
        table = _table(("", "takes", "default", "what it is"), rows)
        said = said.removesuffix(":") + "." * (not said.endswith("?"))
        parts.append(f"## {function.__name__}\n\n{said}\n\n```sh\nbarrage {example}\n```\n\n{table}")
    return "\n\n".join(parts)


BLOCKS: dict[str, Callable[[], str]] = {
    "campaign": lambda: sections(CAMPAIGN),
    "attacks": attacks,
    "classifier": lambda: sections(CLASSIFIER),
    "bpda": lambda: sections(BPDA),
    "columns": columns,
    "commands": commands,
}
_BLOCK = re.compile(r"(<!-- (\w+): written by python -m docs\.reference -->\n).*?(<!-- end -->)", re.S)


def filled(text: str) -> str:
    """Return a page with its tables as the code has them now; what installed packages add is left out."""
    with builtin_only():
        return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def _said(model: type[BaseModel]) -> str:
    """A section's own words."""
    return " ".join((model.__doc__ or "").removeprefix("The whole file.").split())


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _takes(field: FieldInfo, homes: dict[type, str]) -> str:
    """Type and limits of a field, in words."""
    metadata = [*field.metadata, *_inner(field.annotation)]
    limits = [f"{text} {getattr(m, name):g}" for m in metadata for name, text in LIMITS.items() if hasattr(m, name)]
    patterns = [PATTERNS[m.pattern] for m in metadata if hasattr(m, "pattern")]
    return ", ".join([_kind(field.annotation, metadata, homes), *limits, *patterns])


LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "of letters, digits, `_`, `.` and `-`",
    r"^[A-Za-z0-9_.-]+$": "of letters, digits, `_`, `.` and `-`",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
}


def _inner(kind: Any) -> Iterator[Any]:
    """The metadata of the annotated types that a union is of."""
    for one in get_args(kind) if get_origin(kind) not in (list, tuple, dict, Literal) else ():
        for found in getattr(one, "__metadata__", ()):
            yield from getattr(found, "metadata", [found])


def _kind(kind: Any, metadata: list[Any], homes: dict[type, str]) -> str:
    """A type in words."""
    origin, inside = get_origin(kind), [k for k in get_args(kind) if k is not type(None)]
    if names := next((m.table for m in metadata if isinstance(m, Choice)), None):
        return " or ".join(f"`{name}`" for name in names)
    if hasattr(kind, "__metadata__"):
        return _kind(inside[0], metadata, homes)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inside)
    if origin is list or (origin is tuple and inside[1] is ...):
        return f"list of {PLURAL.get(_bare(inside[0]), 'sections')}"
    if origin is tuple:
        return f"{len(inside)} {PLURAL[_bare(inside[0])]}"
    if origin is dict:
        return f"names, each with a {_kind(inside[1], [], homes)}"
    if inside:  # a union: with None, or of attacks, whose first has their heading
        return _kind(inside[0], metadata, homes)
    if kind in homes:
        return f"[section]({homes[kind]})"
    if kind is float and any(isinstance(m, BeforeValidator) for m in metadata):
        return "length, as `8/255` or `0.03`"
    return {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}[kind]


PLURAL = {str: "texts", int: "whole numbers", float: "numbers"}


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _unless(field: FieldInfo) -> str:
    """A default, as YAML writes it; empty where the description says what happens."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if value is None or isinstance(value, BaseModel) or value == {}:
        return ""
    if value == BART_25:
        return f"the {len(BART_25)} of the article"
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{yaml.safe_dump(plain, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def _arrow(kind: pa.DataType) -> str:
    """A column's type in words."""
    if pa.types.is_dictionary(kind):
        return "string, as a dictionary"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} x {kind.value_type}"
    return f"list of {_arrow(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def _parameter(name: str, hint: Any, default: Any) -> tuple[str, str, str, str]:
    """An argument or an option as a line of its command's table."""
    kind, *told = get_args(hint)
    kind = next(k for k in (*get_args(kind), kind) if k is not type(None))
    info = next(found for found in told if isinstance(found, ArgumentInfo | OptionInfo))
    own = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]  # typer takes the first apart
    options = own or [f"--{name}", f"--no-{name}"][: 1 + (kind is bool)]
    shown = name.upper() if isinstance(info, ArgumentInfo) else ", ".join(options)
    least = f", at least {info.min:g}" if info.min is not None else ""
    unless = "" if default in (None, False) else f"`{getattr(default, 'value', default)}`"
    if default is Parameter.empty:
        unless = "**required**"
    return f"`{shown}`", _option(kind) + least, "" if kind is bool else unless, str(info.help)


def _option(kind: Any) -> str:
    """What a parameter takes, in words."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{choice.value}`" for choice in kind)
    return {int: "whole number", float: "number", bool: "", Path: "path"}.get(kind, "text")


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Writes every page that holds such a table."""
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()
        if (now := filled(text)) != text:
            page.write_text(now)
            print(f"written: {page.relative_to(PAGES.parent)}")


if __name__ == "__main__":
    main()
