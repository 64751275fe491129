"""Schraudolph's piecewise linear exponential (Neural Computation, 1999), which scikit-image's non-local means uses.

It is made for the upper half of a double; here its constants are moved on to the bits of a float.
"""

import math

from torch import Tensor, float32

CUTOFF = 5.0
"""Beyond this distance the weight is zero."""
SLOPE = 2**20 / math.log(2)
OFFSET = 1072632447 - ((1023 - 127) << 20)


def exponential(distance: Tensor) -> Tensor:
    """exp(-distance), for 0..5, float32."""
    return (((distance * -SLOPE).int() + OFFSET) << 3).view(float32)
