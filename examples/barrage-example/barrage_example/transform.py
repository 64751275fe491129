"""A share of the image's negative. It is linear in the image, so its gradient is exact."""

from torch import Tensor

from bart import Gradient, Transform, rng
from bart.types import Params, Size


def draw(keys: Tensor, size: Size) -> Params:
    """Return `share` (n,) in 0..0.4, one for each key."""
    return {"share": rng.uniform(keys, "share", 0.0, 0.4)}


def apply(x: Tensor, params: Params) -> Tensor:
    """Return x (1 - share) + (1 - x) share for images x (n, 3, h, w) in [0, 1]."""
    share = params["share"].to(x.dtype)[:, None, None, None]
    return x * (1 - share) + (1 - x) * share


NEGATIVE = Transform("negative", "contrast", draw, apply, Gradient.EXACT, {"share": 0.4})
