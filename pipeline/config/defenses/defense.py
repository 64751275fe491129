"""Define the settings that every kind of defense has: what plans, checks and rows ask of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from bart import BpdaNet, Classifier, Defended
from bart import Defense as BuiltDefense
from bart.diagnostics import PlantedWeakness
from pipeline.config.fields import Strict


class Defense(Strict):
    """Describe the settings of every kind. A kind inherits this, has a field `kind` and `build`, and a line in the table."""

    version: ClassVar[int] = 1
    """Of the kind's definition, from 1. A change that changes draws takes the next: then its cells have another identity."""

    if TYPE_CHECKING:  # each kind has a field of this name

        @property
        def kind(self) -> str: ...

    frozen: bool = Field(False, description="each image has one draw for all steps and verdicts; for checks, not a defense")
    planted: bool = Field(
        False, description="add a known weakness in front of the defense, which an attack must find; for checks"
    )

    def build(self) -> BuiltDefense:
        """Return the defense itself. Raises ValueError for settings that cannot be met."""
        raise NotImplementedError

    def defended(self, classifier: Classifier, networks: Mapping[str, BpdaNet]) -> Defended:
        """Return the classifier behind this defense; `networks` are the BPDA networks of the attack, by transform."""
        return (PlantedWeakness if self.planted else Defended)(classifier, self.build(), self.frozen, dict(networks))

    @property
    def random(self) -> bool:
        """Return whether draws differ, so that gradients and verdicts need several."""
        return not self.frozen and self.build().random

    @property
    def cost(self) -> float:
        """Return what a draw costs beside one pass of the model, in transforms of a barrage; see `pipeline.planning.cost`."""
        return self.build().cost

    @property
    def removable(self) -> bool:
        """Return whether the model without this defense is another one, which can be attacked too."""
        return True

    @property
    def foreign(self) -> bool:
        """Return whether it runs code of others, or acts inside the model, and so is tried before any work starts."""
        return False

    @property
    def unhashed(self) -> tuple[str, ...]:
        """Return the functions, package.module:function, that make other weights in each call, so that no hash holds."""
        return ()

    @property
    def random_model(self) -> bool:
        """Return whether the model itself is random, so that without this defense nothing can be judged."""
        return False

    @property
    def inside(self) -> bool:
        """Return whether it acts at layers of the model, which then stay as they were made."""
        return False

    @property
    def measured_as(self) -> int | None:
        """Return the k of the article's barrage whose measured rates hold for this defense too; None if none do."""
        return None

    @property
    def summary(self) -> str:
        """Return its kind and what is set apart from defaults, in words: "barrage, k 5"."""
        fields = {name: field for name, field in type(self).model_fields.items() if name != "kind"}
        changed = {name: value for name, field in fields.items() if (value := getattr(self, name)) != field.default}
        return ", ".join([self.kind, *(_said(name, value) for name, value in changed.items())])

    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of other tables that decide its numbers: {"transforms": ("jpeg",)}. A policy differentiates these
        transforms."""
        return {}

    def alone(self) -> Mapping[str, "Defense"]:
        """Return defenses of one part of this one each, by the part's name: none of them may withstand an attack."""
        return {}

    def deciding(self) -> dict[str, Any]:
        """Return the settings that decide numbers, as JSON: they enter the identity of a cell."""
        return self.model_dump(mode="json")

    def judging(self) -> dict[str, Any]:
        """Return the settings that decide its draws, as JSON; those that mean the same are equal."""
        return self.deciding()

    def checked(self) -> Self:
        """Return the settings with the hashes of what they name filled in. Raises BadInput if it is missing or another."""
        return self

    def columns(self) -> dict[str, Any]:
        """Return its columns of a row; `pipeline.store.schema` describes them."""
        return {"k": 0, "frozen": self.frozen}


def _said(name: str, value: Any) -> str:
    """Return a setting in words."""
    if isinstance(value, tuple) and len(value) > 3:
        return f"{len(value)} {name}"
    return name if value is True else f"{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
