"""Oracles of group 9: the definitions, in NumPy, channel by channel."""

import numpy as np


def grey_mix(image, params):
    return np.repeat((image @ params["ratio"])[..., None], 3, axis=-1)


def grey_partial_mix(image, params):
    grey = (image @ params["ratio"])[..., None]
    return image * params["keep"] + grey * (1 - params["keep"])


def grey_two_thirds(image, params):
    first, second = [c for c in range(3) if c != params["channel"]]
    out = image.copy()
    out[..., first] = out[..., second] = image[..., first] * params["ratio"][0] + image[..., second] * params["ratio"][1]
    return out


def grey_one_channel(image, params):
    c, (first, second), mix = int(params["channel"]), params["ratio"], params["mix"]
    others = [image[..., other] for other in range(3) if other != c]
    out = image.copy()
    out[..., c] = (others[0] * first + others[1] * second) * mix + image[..., c] * (1 - mix)
    return out
