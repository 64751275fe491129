"""BaRT, the Barrage of Random Transforms (Raff et al., CVPR 2019), and the attacks that measure it.

PyTorch only: knows nothing of Ray, files or campaigns. See docs/architecture.md.
"""

from bart import rng
from bart.attacks import lanes
from bart.attacks.aggmo import AggMo
from bart.attacks.apgd import Apgd
from bart.attacks.attack import Attack, Cost
from bart.attacks.lanes import Break
from bart.attacks.lbfgs import Lbfgs
from bart.attacks.noise import Noise
from bart.attacks.pgd import Pgd, fgsm
from bart.attacks.restarts import Restarts
from bart.attacks.spsa import Spsa
from bart.attacks.square import Square
from bart.attacks.state import State
from bart.attacks.transfer import Transfer
from bart.ball import Ball
from bart.bpda.network import BpdaNet
from bart.classifier import Classifier, native_half
from bart.defenses.barrage import GREY, Barrage
from bart.defenses.defended import Defended
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
    "Eot",
    "Estimator",
    "Goal",
    "Gradient",
    "Lbfgs",
    "Loss",
    "Mirror",
    "Noise",
    "Pgd",
    "Restarts",
    "Spsa",
    "Square",
    "State",
    "Transfer",
    "Transform",
    "Verdict",
    "checked",
    "fgsm",
    "judge",
    "key",
    "lanes",
    "native_half",
    "rng",
]
