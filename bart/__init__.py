"""Evaluate BaRT, the Barrage of Random Transforms (Raff et al., CVPR 2019): the defense, and the attacks that measure it.

PyTorch only: this package knows nothing of Ray, files or campaigns. See docs/architecture.md. `__all__` lists the public names.
"""

from bart import rng
from bart.attacks import (
    AggMo,
    Apgd,
    Attack,
    Break,
    Cost,
    DualAveraging,
    Lbfgs,
    Noise,
    Pgd,
    Restarts,
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
from bart.classifier import Classifier, native_half
from bart.defenses import GREY, Barrage, Defended, Defense, Preprocessor, Undefended
from bart.gradient import ESTIMATORS, Eot, Estimator, Goal
from bart.losses import LOSSES, Loss
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
    "Attack",
    "Ball",
    "Barrage",
    "BpdaNet",
    "Break",
    "Classifier",
    "Cost",
    "Defended",
    "Defense",
    "DualAveraging",
    "Eot",
    "Estimator",
    "Goal",
    "Gradient",
    "Lbfgs",
    "Loss",
    "Mirror",
    "Noise",
    "Pgd",
    "Preprocessor",
    "Restarts",
    "Spsa",
    "Square",
    "Standard",
    "State",
    "Transfer",
    "Transform",
    "Undefended",
    "Verdict",
    "checked",
    "fgsm",
    "judge",
    "key",
    "lanes",
    "native_half",
    "rng",
]
