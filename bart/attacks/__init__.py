"""Attack a defended classifier: frozen settings with a pure `step` over one record of tensors (`bart.attacks.state`).

Other rooms use the names in `__all__`. `lanes` runs an attack over a queue of images.
"""

from bart.attacks import lanes
from bart.attacks.aggmo import AggMo
from bart.attacks.apgd import Apgd
from bart.attacks.attack import Attack, Cost
from bart.attacks.decisions.pop_skip_jump import PopSkipJump
from bart.attacks.dual_averaging import DualAveraging
from bart.attacks.foreign import External, FreshDraws, Given
from bart.attacks.lanes import Break
from bart.attacks.lbfgs import Lbfgs
from bart.attacks.noise import Noise
from bart.attacks.pgd import Pgd, fgsm
from bart.attacks.restarts import Restarts
from bart.attacks.sparse.apgd_l1 import ApgdL1
from bart.attacks.sparse.sigma_zero import SigmaZero
from bart.attacks.spsa import Spsa
from bart.attacks.square import Square
from bart.attacks.standard import Standard
from bart.attacks.state import State
from bart.attacks.transfer import Transfer

__all__ = [
    "AggMo",
    "Apgd",
    "ApgdL1",
    "Attack",
    "Break",
    "Cost",
    "DualAveraging",
    "External",
    "FreshDraws",
    "Given",
    "Lbfgs",
    "Noise",
    "Pgd",
    "PopSkipJump",
    "Restarts",
    "SigmaZero",
    "Spsa",
    "Square",
    "Standard",
    "State",
    "Transfer",
    "fgsm",
    "lanes",
]
