"""Describe the files that people write as JSON schemas, for editors and validators, from the classes that check the files."""

import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from bart import TRANSFORMS
from pipeline.config.bpda_training import BpdaTraining
from pipeline.config.campaign import Campaign
from pipeline.config.classifier_training import ClassifierTraining

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

DEFAULT_KINDS = ("standard", "pgd", "barrage")
"""The kinds of attack and defense that a section without `kind` can be of."""


def of_type(kind: Any, title: str) -> Schema:
    """Return the JSON schema of files that are read as `kind`, a class or a union of classes.

    Transforms are names of their table. Every section with a `kind` must have it, except attacks of the default kind.
    """
    found = TypeAdapter(kind).json_schema()
    for section in [found, *found.get("$defs", {}).values()]:
        keys = section.get("properties", {})
        if keys.get("kind", {}).get("const") not in (None, *DEFAULT_KINDS):
            section["required"] = list(dict.fromkeys([*section.get("required", []), "kind"]))
        if "transforms" in keys:
            keys["transforms"]["items"] = {"type": "string", "enum": list(TRANSFORMS)}
        for value in keys.values():
            value.pop("title", None)  # the key again, with capitals
            if "patternProperties" in value:
                value["additionalProperties"] = False
    return {"$schema": DIALECT, **found, "title": title}


def campaign() -> Schema:
    """Return the JSON schema of a campaign file."""
    return of_type(Campaign, "A campaign of barrage")


def training() -> Schema:
    """Return the JSON schema of a training file, of either kind."""
    either = Annotated[ClassifierTraining | BpdaTraining, Field(discriminator="kind")]
    return of_type(either, "A training of barrage")


def to_json(schema: Schema) -> str:
    """Return a schema as text, with a line end."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
