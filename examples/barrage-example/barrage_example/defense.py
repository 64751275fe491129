"""Gaussian noise on the image before the classifier, fresh in each draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from bart import Barrage, BpdaNet, Classifier, Defended, Mirror, rng
from bart.bpda.policies import combo
from bart.defenses.barrage import Policy
from pipeline.config.fields import Strict


@dataclass(frozen=True)
class Gaussian(Defended):
    """Add noise of standard deviation `sigma` to images in [0, 1]; no barrage. All randomness comes from the keys."""

    sigma: float = 0.1

    def logits(
        self, x: Tensor, keys: Mirror, policy: Policy = combo, order_keys: Mirror | None = None, fast: bool = False
    ) -> Tensor:
        noise = rng.normal_field(rng.fold(keys.device, "gaussian"), tuple(x.shape[1:]))
        return super().logits(x + self.sigma * noise, keys, policy, order_keys, fast)


class GaussianDefense(Strict):
    """Gaussian noise before the classifier."""

    version: ClassVar[int] = 1
    k: ClassVar[int] = 0
    transforms: ClassVar[tuple[str, ...]] = ()

    kind: Literal["gaussian"] = Field(description="which defense this is")
    sigma: float = Field(0.1, gt=0, le=1, description="standard deviation of the noise, for images in [0, 1]")
    frozen: bool = Field(False, description="the same noise in every step and verdict of an image: a check, no defense")

    @property
    def random(self) -> bool:
        return not self.frozen

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def defended(self, classifier: Classifier, networks: Mapping[str, BpdaNet]) -> Defended:
        return Gaussian(classifier, Barrage(0), self.frozen, sigma=self.sigma)
