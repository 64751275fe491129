"""Oracles of the rank filters: scikit-image on 8-bit levels, channel by channel."""

import numpy as np
from skimage.filters import rank
from skimage.morphology import disk
from skimage.util import img_as_ubyte


def _channels(function, image, params, *names):
    levels = img_as_ubyte(np.clip(image, 0, 1))
    channels = [
        function(levels[..., c], disk(int(params["radius"][c])), **{name: int(params[name][c]) for name in names})
        for c in range(3)
    ]
    return np.stack(channels, axis=-1) / 255


def median(image, params):
    return _channels(rank.median, image, params)


def mean(image, params):
    return _channels(rank.mean, image, params)


def mean_bilateral(image, params):
    return _channels(rank.mean_bilateral, image, params, "s0", "s1")
