"""Average the classifier's probabilities over random crops, each enlarged to the full size (Guo et al., ICLR 2018)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.bpda import combo
from bart.defenses.defense import Defense, Network, Policy, Stage
from bart.transforms import TRANSFORMS
from bart.types import Params, Size

ZOOM = "zoom"
"""The barrage's transform that crops and enlarges."""


@dataclass(frozen=True)
class CropEnsemble(Defense):
    """Cut `crops` windows of each image at uniformly random places, enlarge them, and average their probabilities.

    share   of each side that a window has; 90 of 224 pixels in the article, which takes 30 of them
    The logits are logarithms of the mean probabilities. Raises ValueError for fewer than 1 crop, or a share outside (0, 1].
    """

    crops: int = 30
    share: float = 0.402

    def __post_init__(self) -> None:
        if self.crops < 1:
            raise ValueError(f"crops = {self.crops}: expected at least 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share = {self.share}: expected more than 0 and at most 1, of each side")

    @property
    def random(self) -> bool:
        """Return whether there is more than one place for a window."""
        return self.share < 1

    @property
    def differentiated(self) -> tuple[str, ...]:
        """Return the transform by which windows are cut and enlarged."""
        return (ZOOM,)

    @property
    def cost(self) -> float:
        """Return the transforms, and five for each further pass of the classifier."""
        return self.crops + 5.0 * (self.crops - 1)

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Params:
        """Return `margin` (n x crops, 4) int64, image by image: pixels cut off at the left, right, top and bottom."""
        each = rng.fold(keys.device[:, None], torch.arange(self.crops, device=keys.device.device)).flatten()
        columns = []
        for name, side in (("across", size[1]), ("down", size[0])):
            rest = side - max(1, round(self.share * side))
            first = rng.integers(each, name, 0, rest)
            columns += [first, rest - first]
        return {"margin": torch.stack(columns, dim=1)}

    def logits(self, classifier: Network, x: Tensor, draws: Params, policy: Policy = combo) -> Tensor:
        """Return the logarithm of the mean over the crops of the probabilities, (n, classes), of images `x` (n, 3, h, w)."""
        each = policy(TRANSFORMS[ZOOM], x.repeat_interleave(self.crops, 0), draws)
        shares = classifier(each).log_softmax(1).view(len(x), self.crops, -1)
        return shares.logsumexp(1) - math.log(self.crops)

    def stages(self, x: Tensor, draws: Params) -> Iterator[tuple[str, Tensor]]:
        """Yield every crop of one image, (1, 3, h, w), enlarged."""
        for i, crop in enumerate(TRANSFORMS[ZOOM].apply(x.expand(self.crops, -1, -1, -1), draws), 1):
            yield f"crop {i}", crop[None]

    def made_of(self, draws: Params) -> Sequence[Stage]:
        """Return the crops of one image, each with the pixels cut off at the left, right, top and bottom."""
        return [Stage(f"crop {i}", {"margin": margin}) for i, margin in enumerate(draws["margin"].tolist(), 1)]
