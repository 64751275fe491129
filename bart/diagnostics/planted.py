"""A planted weakness: a model with an adversarial example in every ball, which an attack must find or is broken.

Zimmermann et al., NeurIPS 2022, plant theirs in the readout; here it is in front of the barrage, where it can be proved.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.bpda.policies import combo
from bart.defenses.barrage import Policy
from bart.defenses.defended import Defended


@dataclass(frozen=True)
class Planted(Defended):
    """Adds to the logit of class 0 `slope` times the mean of the image's product with a chequerboard, of +1 and -1.

    Photographs hardly hold that pattern: moving every pixel by eps along it, up or down, adds or takes slope x eps but for
    saturated pixels, more than what separates the classes if the slope is large enough. The rest of the gradient is as noisy
    as the defense makes it.
    """

    slope: float = 2000.0

    def logits(
        self,
        x: Tensor,
        keys: rng.Mirror,
        policy: Policy = combo,
        order_keys: rng.Mirror | None = None,
        fast: bool = False,
    ) -> Tensor:
        logits = super().logits(x, keys, policy, order_keys, fast)
        row, column = (torch.arange(side, device=x.device) for side in x.shape[-2:])
        pattern = ((row[:, None] + column) % 2 * 2 - 1).to(x.dtype)
        planted = self.slope * (x * pattern).mean((1, 2, 3))
        return logits + planted[:, None] * torch.nn.functional.one_hot(torch.zeros_like(keys.device), logits.shape[1])
