"""Evaluate BaRT, the Barrage of Random Transforms (Raff et al., CVPR 2019): the defense, and the attacks that measure it.

PyTorch only: this package knows nothing of Ray, files or campaigns. See docs/architecture.md. `__all__` lists the public names.
"""

from bart import rng
from bart.attacks import (
    AggMo,
    Apgd,
    ApgdL1,
    Attack,
    Break,
    Cost,
    DualAveraging,
    External,
    FreshDraws,
    Given,
    Lbfgs,
    Noise,
    Pgd,
    PopSkipJump,
    Restarts,
    SigmaZero,
    Spsa,
    Square,
    Standard,
    State,
    Transfer,
    fgsm,
    lanes,
)
from bart.ball import Ball
from bart.bpda import BpdaNet
from bart.certificate import Certify
from bart.classifier import Classifier, native_half
from bart.defenses import GREY, AsTransform, Barrage, Defended, Defense, Preprocessor, Undefended
from bart.gradient import ESTIMATORS, Eot, Estimator, Goal
from bart.losses import LOSSES, Loss
from bart.one_call import Judged, attack
from bart.rng import Mirror, key
from bart.transforms import BART_25, TRANSFORMS
from bart.types import Gradient, Transform, checked
from bart.verdict import Verdict, judge

__all__ = [
    "BART_25",
    "ESTIMATORS",
    "GREY",
    "LOSSES",
    "TRANSFORMS",
    "AggMo",
    "Apgd",
    "ApgdL1",
    "AsTransform",
    "Attack",
    "Ball",
    "Barrage",
    "BpdaNet",
    "Break",
    "Certify",
    "Classifier",
    "Cost",
    "Defended",
    "Defense",
    "DualAveraging",
    "Eot",
    "Estimator",
    "External",
    "FreshDraws",
    "Given",
    "Goal",
    "Gradient",
    "Judged",
    "Lbfgs",
    "Loss",
    "Mirror",
    "Noise",
    "Pgd",
    "PopSkipJump",
    "Preprocessor",
    "Restarts",
    "SigmaZero",
    "Spsa",
    "Square",
    "Standard",
    "State",
    "Transfer",
    "Transform",
    "Undefended",
    "Verdict",
    "attack",
    "checked",
    "fgsm",
    "judge",
    "key",
    "lanes",
    "native_half",
    "rng",
]
