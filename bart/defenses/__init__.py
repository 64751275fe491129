"""Defend a classifier: the barrage of random transforms, and the classifier behind it.

Other rooms use the names in `__all__`.
"""

from bart.defenses.as_transform import AsTransform
from bart.defenses.barrage import GREY, Barrage, Policy, described
from bart.defenses.defended import Defended

__all__ = ["GREY", "AsTransform", "Barrage", "Defended", "Policy", "described"]
