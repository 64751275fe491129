"""Add Gaussian noise (Cohen, Rosenfeld, Kolter, ICML 2019)."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from bart import rng
from bart.defenses.preprocessors.transformed import Transformed
from bart.types import Gradient, Params, Transform


@dataclass(frozen=True)
class Gaussian(Transformed):
    """Add N(0, sigma^2) to each value of an image in [0, 1], independently; the gradient is exact.

    clip  clip the result to [0, 1]. The article does not, and its certificate holds without
    Raises ValueError for a sigma below 0.
    """

    sigma: float
    clip: bool = False

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise ValueError(f"sigma = {self.sigma}: expected 0 or more, for images in [0, 1]")

    @property
    def random(self) -> bool:
        """Return whether there is any noise."""
        return self.sigma > 0

    @property
    def noise(self) -> float | None:
        """Return its own: a clip after it is part of what the noise smooths."""
        return self.sigma or None

    @property
    def clipped(self) -> bool:
        """Return what `clip` says."""
        return self.clip

    @cached_property
    def transform(self) -> Transform:
        """Return the sum of image and noise."""

        def add(x: Tensor, params: Params) -> Tensor:
            return x + self.sigma * rng.normal_field(params["seed"], tuple(x.shape[1:])).to(x.dtype)

        return Transform("gaussian", "gaussian", lambda keys, size: {"seed": rng.fold(keys, "gaussian")}, add, Gradient.EXACT)
