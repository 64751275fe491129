"""Plant a weakness: a model with an adversarial example in every ball. An attack that does not find it is broken.

Zimmermann et al., NeurIPS 2022, plant theirs in the readout. Here it is in front of the barrage, where it can be proved.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.bpda import combo
from bart.defenses import Defended, Policy


@dataclass(frozen=True)
class PlantedWeakness(Defended):
    """Add to the logit of class 0 `slope` times the mean of the image's product with a chequerboard of +1 and -1.

    Photographs contain almost nothing of that pattern. Moving every pixel by eps along it, up or down, adds or subtracts slope
    x eps, except for saturated pixels. With a large slope this is more than the distance between the classes. The rest of the
    gradient is as noisy as the defense makes it.
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
        """Return the logits of `Defended.logits` with the weakness added to class 0."""
        logits = super().logits(x, keys, policy, order_keys, fast)
        row, column = (torch.arange(side, device=x.device) for side in x.shape[-2:])
        pattern = ((row[:, None] + column) % 2 * 2 - 1).to(x.dtype)
        weakness = self.slope * (x * pattern).mean((1, 2, 3))
        return logits + weakness[:, None] * torch.nn.functional.one_hot(torch.zeros_like(keys.device), logits.shape[1])
