"""Defend a classifier: what a defense is, the barrage of random transforms, and a classifier behind a defense.

Other rooms use the names in `__all__`.
"""

from bart.defenses.barrage import GREY, Barrage, described
from bart.defenses.defended import Defended
from bart.defenses.defense import Defense, Network, Policy, Preprocessor, Undefended

__all__ = ["GREY", "Barrage", "Defended", "Defense", "Network", "Policy", "Preprocessor", "Undefended", "described"]
