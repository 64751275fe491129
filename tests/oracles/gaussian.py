"""Oracle of the Gaussian blur: scikit-image, channel by channel."""

import numpy as np
from skimage import filters


def gaussian_blur(image, params):
    sigmas = params["sigma"]
    return np.stack([filters.gaussian(image[..., c], float(sigmas[c]), mode="nearest", truncate=4) for c in range(3)], axis=-1)
