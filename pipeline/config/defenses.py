"""Define the defenses of a campaign file, by `kind`: settings that say how a classifier is defended."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, model_validator

from barrage_plugins import Registry
from bart import BART_25, Barrage, BpdaNet, Classifier, Defended
from bart.diagnostics import PlantedWeakness
from pipeline.config.choices import Section
from pipeline.config.fields import Strict


class Defense(Protocol):
    """Describe the settings of every kind. A kind is a `Strict` section with these members, and a line in the table.

    version     of the kind's definition, from 1
    kind        its name in the table
    k           transforms of one barrage; 0 for a kind that is no barrage
    transforms  the transforms that may be drawn; none for a kind that is no barrage
    frozen      whether each image meets one draw, the same in every step and verdict: a check, no defense
    random      whether draws differ, so that gradients and verdicts need several
    """

    version: ClassVar[int]

    @property
    def kind(self) -> str: ...

    @property
    def k(self) -> int: ...

    @property
    def transforms(self) -> tuple[str, ...]: ...

    @property
    def frozen(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of other tables that decide its numbers: {"transforms": ("jpeg",)}."""
        ...

    def defended(self, classifier: Classifier, networks: Mapping[str, BpdaNet]) -> Defended:
        """Return the classifier behind this defense; `networks` are the BPDA networks of the attack, by transform."""
        ...


class BarrageDefense(Strict):
    """A barrage of k transforms. k = 0: no defense."""

    version: ClassVar[int] = 1

    kind: Literal["barrage"] = Field("barrage", description="kind of defense")
    k: int = Field(ge=0, le=10, description="number of transforms of a barrage, each from another group")
    transforms: tuple[str, ...] = Field(BART_25, description="names of the transforms that may be drawn")
    frozen: bool = Field(False, description="each image has one draw for all steps and verdicts; for checks, not a defense")
    planted: bool = Field(
        False, description="add a known weakness in front of the barrage, which an attack must find; for checks"
    )

    @model_validator(mode="after")
    def _possible(self) -> "BarrageDefense":
        self.barrage()
        return self

    @property
    def random(self) -> bool:
        return self.k > 0 and not self.frozen

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"transforms": self.transforms if self.k else ()}

    def barrage(self) -> Barrage:
        """Return the barrage itself. Raises ValueError for an unknown transform or a k that cannot be met."""
        return Barrage(self.k, self.transforms)

    def defended(self, classifier: Classifier, networks: Mapping[str, BpdaNet]) -> Defended:
        return (PlantedWeakness if self.planted else Defended)(classifier, self.barrage(), self.frozen, dict(networks))


DEFENSES: Registry[Any] = Registry(
    "defense kind",
    "defenses",
    builtin={"barrage": BarrageDefense},
    expected="a class of settings, as pipeline.config.defenses.Defense describes it",
    accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Strict) and hasattr(thing, "defended"),
)
"""The kinds of defenses by the name that a campaign file uses, with those of other packages (`barrage.defenses`)."""

SECTION = Section(DEFENSES, "barrage")

AnyDefense = Annotated[Defense, SECTION]
"""A defense of any kind; of a barrage where a section names no kind."""
