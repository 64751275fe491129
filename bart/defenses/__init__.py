"""Defend a classifier: what a defense is, the kinds of defenses, and a classifier behind one.

Other rooms use the names in `__all__`.
"""

from bart.defenses.as_transform import AsTransform
from bart.defenses.barrage import GREY, Barrage, described
from bart.defenses.compose import Compose
from bart.defenses.defended import Defended
from bart.defenses.defense import Defense, Network, Policy, Preprocessor, Stage, Undefended
from bart.defenses.layers import Dropout, FeatureNoise
from bart.defenses.module import RandomModel, RandomModule
from bart.defenses.preprocessors import BitDepth, CropEnsemble, Gaussian, Jpeg, ResizePad, TotalVariation
from bart.defenses.purifier import Purifier

__all__ = [
    "GREY", "AsTransform", "Barrage", "BitDepth", "Compose", "CropEnsemble", "Defended", "Defense", "Dropout", "FeatureNoise",
    "Gaussian", "Jpeg", "Network", "Policy", "Preprocessor", "Purifier", "RandomModel", "RandomModule", "ResizePad", "Stage",
    "TotalVariation", "Undefended", "described",
]  # fmt: skip
