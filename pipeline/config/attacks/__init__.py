"""Define the attacks of a campaign file, by `kind`. Other rooms use the names in `__all__`."""

from pipeline.config.attacks.by_gradient import AggMo, Apgd, DualAveraging, Fgsm, Lbfgs, Pgd, SigmaZero, Standard
from pipeline.config.attacks.by_value import Noise, PopSkipJump, Spsa, Square
from pipeline.config.attacks.certify import Certify
from pipeline.config.attacks.foreign import Examples, External
from pipeline.config.attacks.kinds import KINDS, SECTION, AnyAttack
from pipeline.config.attacks.presets import PRESETS, meaning, written
from pipeline.config.attacks.settings import KIND, START, STEPS, Attack, ByGradient

__all__ = [
    "KIND",
    "KINDS",
    "PRESETS",
    "SECTION",
    "START",
    "STEPS",
    "AggMo",
    "AnyAttack",
    "Apgd",
    "Attack",
    "ByGradient",
    "Certify",
    "DualAveraging",
    "Examples",
    "External",
    "Fgsm",
    "Lbfgs",
    "Noise",
    "Pgd",
    "PopSkipJump",
    "SigmaZero",
    "Spsa",
    "Square",
    "Standard",
    "meaning",
    "written",
]
