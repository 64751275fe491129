"""Define the settings of the barrage of random transforms."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from bart import BART_25, Barrage
from pipeline.config.defenses.defense import Defense


class BarrageDefense(Defense):
    """A barrage of k transforms. k = 0: no defense. Other kinds: docs/defenses.md."""

    kind: Literal["barrage"] = Field("barrage", description="kind of defense")
    k: int = Field(ge=0, le=10, description="number of transforms of a barrage, each from another group")
    transforms: tuple[str, ...] = Field(BART_25, description="names of the transforms that may be drawn")

    @model_validator(mode="after")
    def _possible(self) -> "BarrageDefense":
        self.build()
        return self

    def build(self) -> Barrage:
        """Return the barrage itself. Raises ValueError for an unknown transform or a k that cannot be met."""
        return Barrage(self.k, self.transforms)

    @property
    def random(self) -> bool:
        return self.k > 0 and not self.frozen

    @property
    def cost(self) -> float:
        return self.k

    @property
    def removable(self) -> bool:
        return self.k > 0

    @property
    def measured_as(self) -> int | None:
        return self.k if not self.k or set(self.transforms) == set(BART_25) else None

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"transforms": self.transforms if self.k else ()}

    def alone(self) -> Mapping[str, Defense]:
        return {name: BarrageDefense(k=1, transforms=(name,)) for name in self.transforms if self.k}

    def deciding(self) -> dict[str, Any]:
        """Return its settings without the kind, which release 0.1 did not know."""
        return {name: value for name, value in super().deciding().items() if name != "kind"}

    def judging(self) -> dict[str, Any]:
        """Return its settings with sorted transforms: they may be listed in any order."""
        return self.deciding() | {"transforms": sorted(self.transforms)}

    def columns(self) -> dict[str, Any]:
        return super().columns() | {"k": self.k}
