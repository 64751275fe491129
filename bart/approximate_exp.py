"""Compute a piecewise linear approximation of the exponential, as scikit-image's non-local means does.

The method writes the bits of a floating-point number directly (Schraudolph, Neural Computation, 1999). The article does so for
the upper half of a double; here its constants are moved to the bits of a float32.
"""

import math

from torch import Tensor, float32

CUTOFF = 5.0
"""The largest distance with a weight above zero; non-local means sets the weight to zero beyond it."""
SLOPE = 2**20 / math.log(2)
"""Steps of the exponent field for a distance of 1."""
OFFSET = 1072632447 - ((1023 - 127) << 20)
"""The bits of exp(0), with the article's correction, in the exponent field of a float32."""


def approximate_exp(distance: Tensor) -> Tensor:
    """Return about exp(-distance), float32, for distances in 0..5. The relative error is at most 6.1 %."""
    return (((distance * -SLOPE).int() + OFFSET) << 3).view(float32)
