"""Define the defenses of a campaign file, by `kind`: settings that say how a classifier is defended.

`defense` has what every kind has; each other module has one kind, or a few that are alike.
"""

from typing import Annotated, Any

from barrage_plugins import Registry
from pipeline.config.choices import Section
from pipeline.config.defenses.barrage import BarrageDefense
from pipeline.config.defenses.defense import Defense

__all__ = ["DEFENSES", "AnyDefense", "BarrageDefense", "Defense"]

DEFENSES: Registry[Any] = Registry(
    "defense kind",
    "defenses",
    builtin={"barrage": BarrageDefense},
    expected="a class of settings that inherits pipeline.config.defenses.Defense",
    accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Defense),
)
"""The kinds of defenses by the name that a campaign file uses, with those of other packages (`barrage.defenses`)."""

AnyDefense = Annotated[Defense, Section(DEFENSES, "barrage")]
"""A defense of any kind; of a barrage where a section names no kind."""
