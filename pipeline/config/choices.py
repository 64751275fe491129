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

    A section without the key is of the kind `default`. The table is asked when a file is read, so that packages of others, and
    modules that the user allows, can add kinds.
    """

    table: Registry[Any]
    default: str

    def kind(self, value: Any) -> str:
        """Return the kind that a section of a file names."""
        return str(value.get("kind", self.default)) if isinstance(value, dict) else self.default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dumped = core_schema.simple_ser_schema("any")  # with the keys of the value's own class
        return core_schema.no_info_plain_validator_function(self._read, serialization=dumped)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kinds = {name: kind.__pydantic_core_schema__ for name, kind in self.table.working().items()}
        found = handler(core_schema.tagged_union_schema(kinds, discriminator="kind"))
        for name, reference in found["discriminator"]["mapping"].items():
            own = handler.resolve_ref_schema({"$ref": reference})
            if name != self.default:  # a section without the key is of the default kind
                own["required"] = list(dict.fromkeys([*own.get("required", []), "kind"]))
        return found

    def _read(self, value: Any) -> Any:
        """Return the settings of a section, or settings as they are. Raises ValueError for an unknown kind or a bad setting."""
        return value if isinstance(value, Strict) else self.table[self.kind(value)].model_validate(value)
