"""List the kinds of defenses that stand alone, and can be a part of a composition."""

from typing import Any

from barrage_plugins import Registry
from pipeline.config.defenses.barrage import BarrageDefense
from pipeline.config.defenses.defense import Defense
from pipeline.config.defenses.layers import Dropout, FeatureNoise
from pipeline.config.defenses.modules import Module, Purifier
from pipeline.config.defenses.preprocessors import BitDepth, CropEnsemble, Gaussian, Jpeg, ResizePad, TotalVariation


def registry(**builtin: type[Defense]) -> Registry[Any]:
    """Return a table of these kinds, and of those that other packages add."""
    return Registry(
        "defense kind",
        "defenses",
        builtin=builtin,
        expected="a class of settings that inherits pipeline.config.defenses.Defense",
        accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Defense),
    )


KINDS = registry(
    barrage=BarrageDefense,
    gaussian=Gaussian,
    resize_pad=ResizePad,
    crop_ensemble=CropEnsemble,
    bit_depth=BitDepth,
    jpeg=Jpeg,
    tv=TotalVariation,
    feature_noise=FeatureNoise,
    dropout=Dropout,
    purifier=Purifier,
    module=Module,
)
"""The kinds that stand alone, by the name that a campaign file uses, with those of other packages (`barrage.defenses`)."""
