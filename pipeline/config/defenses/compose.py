"""Define the settings of several defenses in a row."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

import bart.defenses as built
from pipeline.config.choices import Section
from pipeline.config.defenses.defense import Defense
from pipeline.config.defenses.kinds import KINDS


class Compose(Defense):
    """Several defenses in a row, each with keys of its own: the first one gets the image, the last one calls the model."""

    kind: Literal["compose"] = Field(description="kind of defense")
    parts: tuple[Annotated[Defense, Section(KINDS, "barrage")], ...] = Field(
        min_length=1, description="defenses of other kinds, in their order"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Compose":
        for place, part in enumerate(self.parts, 1):
            if part.frozen or part.planted:
                flag = "frozen" if part.frozen else "planted"
                raise ValueError(f"part {place} is {flag}: leave that out there, and set it for the whole composition")
        self.build()
        return self

    def build(self) -> built.Compose:
        return built.Compose(tuple(part.build() for part in self.parts))

    @property
    def random(self) -> bool:
        return not self.frozen and any(part.random for part in self.parts)

    @property
    def foreign(self) -> bool:
        return any(part.foreign for part in self.parts)

    @property
    def unhashed(self) -> tuple[str, ...]:
        return tuple(place for part in self.parts for place in part.unhashed)

    @property
    def random_model(self) -> bool:
        return any(part.random_model for part in self.parts)

    @property
    def inside(self) -> bool:
        return any(part.inside for part in self.parts)

    @property
    def removable(self) -> bool:
        return not self.random_model

    @property
    def cost(self) -> float:
        return sum(part.cost for part in self.parts)

    @property
    def summary(self) -> str:
        """Return its parts in words."""
        return f"{self.kind}: {'; '.join(part.summary for part in self.parts)}"

    def named(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {KINDS.table: ()}
        for part in self.parts:
            for table, names in {KINDS.table: (part.kind,), **part.named()}.items():
                found[table] = tuple(dict.fromkeys((*found.get(table, ()), *names)))
        return found

    def alone(self) -> Mapping[str, Defense]:
        return {f"{place}-{part.kind}": part for place, part in enumerate(self.parts, 1)} if len(self.parts) > 1 else {}

    def checked(self) -> Self:
        return self.model_copy(update={"parts": tuple(part.checked() for part in self.parts)})

    def columns(self) -> dict[str, Any]:
        """Return its own columns, and those that only a part has."""
        own = super().columns()
        return {name: value for part in self.parts for name, value in part.columns().items()} | own

    def deciding(self) -> dict[str, Any]:
        return super().deciding() | {"parts": [part.deciding() for part in self.parts]}

    def judging(self) -> dict[str, Any]:
        return super().judging() | {"parts": [part.judging() for part in self.parts]}
