"""Oracle of group 1: the definition, in NumPy."""

import numpy as np


def color_precision(image, params):
    scale = params["scale"]
    return np.round(image * scale) / scale
