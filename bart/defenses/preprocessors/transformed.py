"""Define preprocessors that are one transform: a transform of the barrage with other draws, or one of their own."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from bart import rng
from bart.autograd import clip
from bart.bpda import combo
from bart.defenses.defense import Policy, Preprocessor
from bart.defenses.preprocessors.scale import Scale
from bart.transforms import TRANSFORMS
from bart.types import Params, Settings, Size, Transform


class Transformed(Preprocessor):
    """Apply one transform to each image. A kind is a frozen dataclass with `transform`, and `scale` if a whole number is drawn.

    A policy differentiates transforms of the table, for which there may be BPDA networks. One of its own has the derivative
    that it declares, and none means the identity.
    """

    @cached_property
    @abstractmethod
    def transform(self) -> Transform:
        """Return the transform, with the draws of this defense."""

    @property
    def scale(self) -> Scale | None:
        """Return the whole number that is drawn for each image, named like the transform's parameter; None if none is."""
        return None

    @property
    def clipped(self) -> bool:
        """Return whether the classifier gets images in [0, 1]."""
        return True

    @property
    def random(self) -> bool:
        """Return whether draws differ."""
        return self.scale is None or self.scale.low < self.scale.high

    @property
    def differentiated(self) -> tuple[str, ...]:
        """Return the transform's name if it is one of the table."""
        return (self.transform.name,) if self.transform.name in TRANSFORMS else ()

    @property
    def cost(self) -> float:
        """Return 1: that of a transform."""
        return 1.0

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the ranges of the number that is drawn."""
        return self.scale.names if self.scale else ()

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Params:
        """Return the transform's parameters, from one key a row."""
        return self.transform.draw(keys.device, size)

    def parts(self, draws: Params) -> Sequence[Sequence[str]]:
        """Return the range in which the number of each draw is."""
        assert self.scale, "without a number that is drawn there are no choices"
        return [[self.scale.name_of(value)] for value in draws[self.scale.what].tolist()]

    def settings(self, draws: Params) -> Settings:
        """Return the whole number that was drawn for one image, if one is."""
        return {self.scale.what: int(draws[self.scale.what][0])} if self.scale else {}

    def apply(self, x: Tensor, draws: Params, policy: Policy = combo) -> Tensor:
        """Return the images `x` (n, 3, h, w), or (n, 1, h, w) if grey, behind the transform."""
        if x.shape[1] == 1:
            return self.apply(x.expand(-1, 3, -1, -1), draws, policy)[:, :1]
        y = (policy if self.differentiated else combo)(self.transform, x, draws)
        return clip(y) if self.clipped else y
