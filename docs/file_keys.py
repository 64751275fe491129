"""Write the keys of a file's sections as tables, from the JSON schema that `barrage schema` gives to editors."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from docs.tables import table
from pipeline.config import schema

Node = dict[str, Any]
"""A part of a JSON schema: a section, or what a key takes."""

Heading = tuple[str, type[BaseModel]]
"""A heading, and the section under it."""

LIMITS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "of letters, digits, `_`, `.` and `-`",
    r"^[A-Za-z0-9_.-]+$": "of letters, digits, `_`, `.` and `-`",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$": "as `package.module:function`",
}
PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
LONG = 10
"""The fewest names of a default list that is counted rather than written out."""


def sections(headings: list[Heading], elsewhere: Mapping[str, str]) -> str:
    """Return sections with their headings; `elsewhere` says where sections without one are, {class name: link}."""
    homes = {**elsewhere, **{model.__name__: "#" + _anchor(title) for title, model in headings}}
    return "\n\n".join(f"## {title}\n\n{about(model)}\n\n{section(model, homes)}" for title, model in headings)


def section(model: type[BaseModel], homes: Mapping[str, str], without: tuple[type[BaseModel], ...] = ()) -> str:
    """Return the table of a section's keys; leave out keys that are the same in the sections `without`.

    Raises ValueError for a key without a description.
    """
    found, known = _keys(model), [_keys(other) for other in without]
    own = {key: node for key, node in found.items() if all(keys.get(key) != node for keys in known)}
    required = schema.of_type(model, "").get("required", [])
    rows = []
    for key in sorted(own, key=lambda key: key != "kind"):
        if not own[key].get("description"):
            raise ValueError(f"{model.__name__}.{key} has no description: give its Field one")
        rows.append((f"`{key}`", takes(own[key], homes), _default(own[key], key in required), own[key]["description"]))
    return table(("key", "takes", "default", "what it is"), rows) if rows else "Nothing else."


def about(model: type[BaseModel]) -> str:
    """Return what a section says of itself."""
    return " ".join(schema.of_type(model, "").get("description", "").removeprefix("The whole file.").split())


def takes(node: Node, homes: Mapping[str, str]) -> str:
    """Return in words what a key takes: its forms, then their limits."""
    forms = [form for form in node.get("anyOf", [node]) if form.get("type") != "null"]
    forms.sort(key=lambda form: form.get("type") == "array")
    limits = [f"{text} {form[name]:g}" for form in forms for name, text in LIMITS.items() if name in form]
    limits += [PATTERNS[form["pattern"]] for form in forms if form.get("pattern") in PATTERNS]
    return ", ".join([" or ".join(_form(form, homes) for form in forms), *limits])


def _keys(model: type[BaseModel]) -> dict[str, Node]:
    """Return what each key of a section takes."""
    return dict(schema.of_type(model, "")["properties"])


def _form(form: Node, homes: Mapping[str, str]) -> str:
    """Return one form of a value in words."""
    if "$ref" in form:
        return f"[section]({homes[form['$ref'].rpartition('/')[2]]})"
    if "anyOf" in form:
        return takes(form, homes)
    if "oneOf" in form:  # sections by kind: the first has their heading
        return _form(form["oneOf"][0], homes)
    if names := form.get("enum", [form["const"]] if "const" in form else []):
        return " or ".join(f"`{name}`" for name in names)
    if form["type"] == "array":
        every = form.get("prefixItems")
        return f"{len(every)} {_plural(every[0])}" if every else f"list of {_plural(form['items'])}"
    if form["type"] == "object":
        (value,) = form.get("patternProperties", {"": form.get("additionalProperties")}).values()
        return f"names, each with a {_form(value, homes)}"
    return PLAIN[form["type"]] + "".join(f" such as `{example}`" for example in form.get("examples", ())[:1])


def _plural(form: Node) -> str:
    return f"{PLAIN[form['type']]}s" if form.get("type") in PLAIN else "sections"


def _default(node: Node, required: bool) -> str:
    """Return a default as YAML writes it; empty where the description says what happens."""
    if required:
        return "**required**"
    value = node.get("default")
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list) and len(value) >= LONG:
        return f"[all {len(value)}](transforms.md)"
    return f"`{yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
