"""Read values of a campaign file that come from a table: a name of it, or a section whose `kind` is a name of it."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from barrage_plugins import Registry
from pipeline.config.fields import Strict


@dataclass(frozen=True)
class Choice:
    """Annotate a string that must be a name of a table: `Annotated[str, Choice(LOSSES)]`."""

    table: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(self.table)}

    def _known(self, name: str) -> str:
        """Return the name. Raises PluginError, a ValueError, unless the table has what it names."""
        self.table[name]
        return name


@dataclass(frozen=True)
class Section:
    """Annotate a section whose key `kind` names a class of settings in a table: `Annotated[Attack, Section(KINDS, "pgd")]`.

    default   the kind of a section without the key
    former    the kind of a section without the key that sets what this kind has and the default has not: what was the default
              before, so that files of then keep their meaning
    presets   settings by name, which a section may have in its key `preset` instead of writing them
    expanded  a section -> the section with the settings of its preset written out
    The table is asked when a file is read, so that packages of others, and modules that the user allows, can add kinds.
    """

    table: Registry[Any]
    default: str
    former: str | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expanded: Callable[[Mapping[str, Any]], dict[str, Any]] = dict

    def kind(self, value: Any) -> str:
        """Return the kind that a section of a file names, itself or by its preset."""
        if not isinstance(value, dict):
            return self.default
        written = self.expanded(value)
        implied = self.former if self.former and written.keys() & self._former_keys() else self.default
        return str(written.get("kind", implied))

    def keys(self, value: Any) -> list[str]:
        """Return the keys that a section of a file may have, with those that would make it of the former default."""
        former = sorted(self._former_keys()) if isinstance(value, dict) and "kind" not in value else []
        return [*self.table[self.kind(value)].model_fields, *former, *(["preset"] if self.presets else [])]

    def _former_keys(self) -> set[str]:
        """Return the keys that the former default has and the default has not: none without a former default."""
        former = self.table[self.former].model_fields if self.former else {}
        return set(former) - set(self.table[self.default].model_fields)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dumped = core_schema.simple_ser_schema("any")  # with the keys of the value's own class
        return core_schema.no_info_plain_validator_function(self._read, serialization=dumped)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kinds = {name: kind.__pydantic_core_schema__ for name, kind in self.table.working().items()}
        found = handler(core_schema.tagged_union_schema(kinds, discriminator="kind"))
        for name, reference in found["discriminator"]["mapping"].items():
            own = handler.resolve_ref_schema({"$ref": reference})
            if name == self.former:
                own["anyOf"] = [{"required": [key]} for key in ("kind", *sorted(self._former_keys()))]
            elif name != self.default:
                own["required"] = list(dict.fromkeys([*own.get("required", []), "kind"]))
        for name, settings in self.presets.items():
            of_kind = found["discriminator"]["mapping"][settings["kind"]]
            found["oneOf"].append(_with_preset(handler.resolve_ref_schema({"$ref": of_kind}), name, settings))
        return found

    def _read(self, value: Any) -> Any:
        """Return the settings of a section, or settings as they are. Raises ValueError for an unknown kind or a bad setting."""
        if isinstance(value, Strict):
            return value
        return self.table[self.kind(value)].model_validate(self.expanded(value) if isinstance(value, dict) else value)


def _with_preset(of_kind: JsonSchemaValue, name: str, settings: Mapping[str, Any]) -> JsonSchemaValue:
    """Return the schema of sections that name a preset, from that of its kind: what the preset sets may be left out."""
    schema = deepcopy(of_kind)
    schema.pop("anyOf", None)  # the preset names the kind
    for key, value in settings.items():
        schema["properties"][key]["default"] = value
    schema["properties"]["preset"] = {"const": name, "type": "string", "description": "name of settings, see docs/presets.md"}
    schema["required"] = ["preset", *(key for key in schema.get("required", []) if key not in settings)]
    return schema
