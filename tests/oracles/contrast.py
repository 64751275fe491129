"""Oracles of group 8: scikit-image's exposure module and NumPy's percentile, channel by channel or for the whole image."""

import numpy as np
from skimage import exposure


def hist_eq(image, params):
    return np.stack([exposure.equalize_hist(image[..., c], nbins=int(params["bins"][c])) for c in range(3)], axis=-1)


def contrast_stretch(image, params):
    def stretched(values, low, high):
        return exposure.rescale_intensity(values, in_range=tuple(np.percentile(values, (low, high))))

    low, high = params["low"], params["high"]
    if not params["per_channel"]:
        return stretched(image, low[0], high[0])
    return np.stack([stretched(image[..., c], low[c], high[c]) for c in range(3)], axis=-1)


def clahe(image, params):
    def equalised(values, c):
        tile = (int(params["tile_height"][c]), int(params["tile_width"][c]))
        return exposure.equalize_adapthist(values, kernel_size=tile, clip_limit=params["clip_limit"][c])

    if not params["per_channel"]:
        return equalised(image, 0)  # scikit-image takes the value of HSV
    return np.stack([equalised(image[..., c], c) for c in range(3)], axis=-1)
