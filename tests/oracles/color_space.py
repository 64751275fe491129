"""Oracles of group 7: scikit-image's conversions there and back."""

import warnings

import numpy as np
from skimage import color


def _offset(params, reach):
    return (2 * params["position"].astype(np.float64) - 1) * np.array(reach)


def hsv(image, params):
    return color.hsv2rgb(np.clip(color.rgb2hsv(image) + _offset(params, [0.05, 0.25, 0.25]), 0, 1))


def xyz(image, params):
    return color.xyz2rgb(np.clip(color.rgb2xyz(image) + _offset(params, [0.05, 0.05, 0.05]), 0, 1))


def lab(image, params):
    shifted = color.rgb2lab(image) + _offset(params, [5, 2, 2])
    shifted[..., 0] = np.clip(shifted[..., 0], 0, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # negative z of dark pixels, clipped to 0
        return color.lab2rgb(shifted)


def yuv(image, params):
    shifted = color.rgb2yuv(image) + _offset(params, [0.05, 0.02, 0.02])
    shifted[..., 0] = np.clip(shifted[..., 0], 0, 1)
    return color.yuv2rgb(shifted)
