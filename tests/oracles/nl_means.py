"""Oracle of non-local means: scikit-image."""

import warnings

import numpy as np
from skimage.restoration import denoise_nl_means, estimate_sigma


def nl_means(image, params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a channel without any detail has no noise; NaN in scikit-image
        sigma = np.nan_to_num(estimate_sigma(image, channel_axis=-1)).mean()
    if sigma == 0:
        return image
    settings = {
        "patch_size": int(params["patch"]),
        "patch_distance": int(params["distance"]),
        "h": float(params["h"]) * sigma,
        "fast_mode": True,
    }
    if not params["per_channel"]:
        return denoise_nl_means(image, channel_axis=-1, **settings)
    return np.stack([denoise_nl_means(image[..., c], **settings) for c in range(3)], axis=-1)
