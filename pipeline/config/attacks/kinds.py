"""List the kinds of attacks by name."""

from typing import Annotated

from barrage_plugins import Registry
from pipeline.config.attacks.by_gradient import AggMo, Apgd, DualAveraging, Fgsm, Lbfgs, Pgd, SigmaZero, Standard
from pipeline.config.attacks.by_value import Noise, PopSkipJump, Spsa, Square
from pipeline.config.attacks.certify import Certify
from pipeline.config.attacks.foreign import Examples, External
from pipeline.config.attacks.presets import PRESETS, expanded
from pipeline.config.attacks.settings import Attack
from pipeline.config.choices import Section

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
        "sigma_zero": SigmaZero,
        "lbfgs": Lbfgs,
        "square": Square,
        "spsa": Spsa,
        "pop_skip_jump": PopSkipJump,
        "noise": Noise,
        "external": External,
        "examples": Examples,
        "certify": Certify,
    },
    expected="a class of settings that inherits pipeline.config.attacks.Attack",
    accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Attack),
)
"""The kinds of attacks by the name that a campaign file uses, with those of other packages (`barrage.attacks`)."""

SECTION = Section(KINDS, "standard", "pgd", {name: preset.settings for name, preset in PRESETS.items()}, expanded)
"""A section without a kind or a preset is the standard attack, or PGD if it sets what only PGD has, such as steps."""

AnyAttack = Annotated[Attack, SECTION]
"""An attack of any kind."""
