"""Mirror images at their borders, as far as a window reaches, however small the image is."""

import torch
from torch import Tensor


def mirrored(x: Tensor, axis: int, before: int, after: int, twice: bool) -> Tensor:
    """Return `x` with `before` and `after` entries more along `axis`, mirrored at its ends, again and again if need be.

    twice   the border's own entry is repeated ("symmetric" in NumPy and PyWavelets), or not ("reflect")
    """
    side = x.shape[axis]
    place = torch.arange(-before, side + after, device=x.device)
    period, last = (2 * side, 2 * side - 1) if twice else (max(2 * side - 2, 1), 2 * side - 2)
    place = place % period
    return x.index_select(axis, place.minimum(last - place))
