"""Define the types that the sections of campaign, training and cluster files are made of."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class AlsoWritten:
    """Annotate a value that a file may write in another form too: `Annotated[list[str], AlsoWritten(one_as_list, item)]`.

    read     turns the other form into the value, and leaves the value as it is
    form     returns the JSON schema of the other form, from that of the value
    """

    read: Callable[[Any], Any]
    form: Callable[[JsonSchemaValue], JsonSchemaValue]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        value = handler(schema)
        return {"anyOf": [value, self.form(value)]}


def _fraction(value: Any) -> Any:
    """Return `8/255` as a number; other values as they are."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(rf"(?P<above>[-+]?({NUMBER}|\.\d+))(/(?P<below>\d+))?", value.replace(" ", ""), re.ASCII)
    number = math.nan
    if found:  # as floats: whole numbers would write 1e999999999 out
        number = float(found["above"]) / (float(found["below"] or 1) or math.nan)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number: write 8/255 or 0.0314")
    return number


NUMBER = r"\d+(\.\d*)?([eE][-+]?\d+)?"
FRACTION = {"type": "string", "pattern": rf"^ *{NUMBER}( */ *\d+)? *$", "examples": ["8/255"]}

Length = Annotated[float, Field(gt=0, le=1e3), AlsoWritten(_fraction, lambda number: FRACTION)]
"""A distance between images with values in [0, 1]."""

ONE_OR_MORE = AlsoWritten(lambda value: [value] if isinstance(value, str) else value, lambda values: values["items"])
"""Annotates a list of texts that may be one text."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A name that may be part of a file name."""

WORDNET = re.compile(r"(n\d{8})(?:\s+(.*))?")
"""A class by its WordNet id, with or without its name."""

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?$")]
"""A key or value of a node's labels, as Ray allows them."""


class Strict(BaseModel):
    """Hold one section of a file: unknown keys are refused, and values never change after reading.

    A value must be of the type that its key asks for: `true` is no number, `"10"` neither, and 1.0 is no count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _not_disguised(cls, values: Any) -> Any:
        """Check that pydantic need not turn a value into another: a boolean, a text with digits. Raises ValueError."""
        for name, field in cls.model_fields.items() if isinstance(values, dict) else ():
            kinds, value = _kinds(field.annotation), values.get(name)
            for inner in value if isinstance(value, list | tuple) else (value,):
                if wrong := _disguised(inner, kinds, field):
                    raise ValueError(f"{name} {inner!r}: {wrong}")
        return values


class Share(Strict):
    """Say how work is spread over a cluster; decides no number."""

    count: int | None = Field(None, ge=1, description="maximum of actors; default: as many as the cluster has room for")
    cpus: float = Field(1, gt=0, description="cores of each actor")
    gpus: float | None = Field(None, ge=0, description="GPUs of each actor; default: 1 if the cluster has GPUs, else 0")
    accelerator: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$", description="GPU type by Ray's name: V100, H100")
    labels: dict[Label, Label] = Field({}, description="labels that a node must have, such as market-type: spot")
    silent_seconds: float = Field(60, ge=5, description="an actor without an answer for this long loses its unit to another")
    stuck_seconds: float = Field(1800, gt=0, description="a unit without progress for this long goes to another actor")
    ready_seconds: float = Field(600, gt=0, description="an actor that has not started after this long is requested again")


def _disguised(value: Any, kinds: set[Any], field: FieldInfo) -> str:
    """Return what is wrong with a value that looks like one of another type; empty if nothing is."""
    numbers = bool(kinds & {int, float})
    if isinstance(value, bool) and numbers and bool not in kinds:
        return "a truth value, expected a number (YAML reads yes, no, on and off as true and false)"
    if isinstance(value, int | float) and not isinstance(value, bool) and bool in kinds and not numbers:
        return "a number, expected true or false"
    if isinstance(value, str) and bool in kinds and str not in kinds:
        return "a text, expected true or false without quotes"
    if isinstance(value, str) and numbers and str not in kinds and not any(isinstance(n, AlsoWritten) for n in _notes(field)):
        return "a text, expected a number: write it without quotes and underscores"
    return ""


def _kinds(annotation: Any) -> set[Any]:
    """Return the classes that a type annotation names, also inside unions and tuples."""
    own = {annotation} if isinstance(annotation, type) else set()
    return own.union(*(_kinds(part) for part in get_args(annotation)))


def _notes(field: FieldInfo) -> Iterator[Any]:
    """Yield the metadata of a field, also those inside a union."""
    yield from field.metadata
    waiting = [field.annotation]
    while waiting:
        part = waiting.pop()
        if get_origin(part) is Annotated:
            yield from get_args(part)[1:]
        waiting += get_args(part)


def known_keys(section: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Return the keys of the section at `location` of a file whose schema is `section`.

    Parts of the location that are no key, such as the name of a group or of an attack's kind, are skipped.
    """
    for part in location:
        field = section.model_fields.get(str(part))
        if field is not None:
            section = next(_sections(field.annotation), section)
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
