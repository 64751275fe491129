"""Define the attacks of a campaign file, by `kind`: `base` has what all share, `own` is barrage's, `foreign` is of others."""

from typing import Annotated

from barrage_plugins import Registry
from pipeline.config.attacks.base import KIND, START, STEPS, Attack, ByGradient
from pipeline.config.attacks.certify import Certify
from pipeline.config.attacks.foreign import Examples, External
from pipeline.config.attacks.own import AggMo, Apgd, DualAveraging, Fgsm, Lbfgs, Noise, Pgd, Spsa, Square, Standard
from pipeline.config.choices import Section

__all__ = ["KIND", "KINDS", "START", "STEPS", "AnyAttack", "Attack", "ByGradient", "Certify", "Examples", "External", "Pgd"]

KINDS: Registry[type[Attack]] = Registry(
    "attack kind",
    "attacks",
    builtin={
        "pgd": Pgd,
        "fgsm": Fgsm,
        "aggmo": AggMo,
        "apgd": Apgd,
        "dual_averaging": DualAveraging,
        "standard": Standard,
        "lbfgs": Lbfgs,
        "square": Square,
        "spsa": Spsa,
        "noise": Noise,
        "external": External,
        "examples": Examples,
        "certify": Certify,
    },
    expected="a class of settings that inherits pipeline.config.attacks.Attack",
    accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Attack),
)
"""The kinds of attacks by the name that a campaign file uses, with those of other packages (`barrage.attacks`)."""

AnyAttack = Annotated[Attack, Section(KINDS, "pgd")]
"""An attack of any kind; PGD where a section names no kind."""
