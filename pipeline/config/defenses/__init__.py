"""Define the defenses of a campaign file, by `kind`: settings that say how a classifier is defended.

`defense` has what every kind has, `kinds` lists them; each other module has one kind, or some that are alike.
"""

from typing import Annotated

from pipeline.config.choices import Section
from pipeline.config.defenses.barrage import BarrageDefense
from pipeline.config.defenses.compose import Compose
from pipeline.config.defenses.defense import Defense
from pipeline.config.defenses.kinds import KINDS, registry

__all__ = ["DEFENSES", "AnyDefense", "BarrageDefense", "Compose", "Defense"]

DEFENSES = registry(**KINDS.builtin, compose=Compose)
"""All kinds of defenses by the name that a campaign file uses, with those of other packages (`barrage.defenses`)."""

AnyDefense = Annotated[Defense, Section(DEFENSES, "barrage")]
"""A defense of any kind; of a barrage where a section names no kind."""
