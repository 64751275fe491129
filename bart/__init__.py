"""BaRT, the Barrage of Random Transforms (Raff et al., CVPR 2019), and the attacks that measure it.

PyTorch only: knows nothing of Ray, files or campaigns. See docs/architecture.md.
"""

from bart import rng
from bart.attacks.pgd import Pgd
from bart.attacks.state import State
from bart.ball import Ball
from bart.barrage import Barrage
from bart.classifier import Classifier, Defended, native_half
from bart.evaluate import Verdict, judge
from bart.gradient import Eot
from bart.rng import Mirror, key
from bart.transforms import TRANSFORMS
from bart.types import Gradient, Transform

__all__ = [
    "TRANSFORMS",
    "Ball",
    "Barrage",
    "Classifier",
    "Defended",
    "Eot",
    "Gradient",
    "Mirror",
    "Pgd",
    "State",
    "Transform",
    "Verdict",
    "judge",
    "key",
    "native_half",
    "rng",
]
