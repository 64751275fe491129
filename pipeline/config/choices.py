"""Read values of a campaign file that come from a table: a name of it, or a section whose `kind` is a name of it."""

from dataclasses import dataclass
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

    default  the kind of a section without the key
    former   the kind of a section without the key that sets what this kind has and the default has not: what was the default
             before, so that files of then keep their meaning
    The table is asked when a file is read, so that packages of others, and modules that the user allows, can add kinds.
    """

    table: Registry[Any]
    default: str
    former: str | None = None

    def kind(self, value: Any) -> str:
        """Return the kind that a section of a file names."""
        if not isinstance(value, dict):
            return self.default
        implied = self.former if self.former and value.keys() & self._former_keys() else self.default
        return str(value.get("kind", implied))

    def keys(self, value: Any) -> list[str]:
        """Return the keys that a section of a file may have, with those that would make it of the former default."""
        former = sorted(self._former_keys()) if isinstance(value, dict) and "kind" not in value else []
        return [*self.table[self.kind(value)].model_fields, *former]

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
        return found

    def _read(self, value: Any) -> Any:
        """Return the settings of a section, or settings as they are. Raises ValueError for an unknown kind or a bad setting."""
        return value if isinstance(value, Strict) else self.table[self.kind(value)].model_validate(value)
