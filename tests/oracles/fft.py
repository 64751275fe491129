"""Oracle of group 5: NumPy's full complex transform. Only the field of factors is the code's own: it is made from a seed."""

import numpy as np
import torch

from bart import rng


def fft(image, params):
    height, width = image.shape[:2]
    seed = torch.from_numpy(np.asarray(params["seed"]).reshape(1))
    factors = 0.98 + 0.04 * rng.field(seed, (height, width))[0].double().numpy()
    out = np.empty_like(image)
    for c in range(3):
        keep = float(params["keep"][c])
        spectrum = np.fft.fft2(image[..., c])
        spectrum[int(keep * height) : int((1 - keep) * height)] = 0
        spectrum[:, int(keep * width) : int((1 - keep) * width)] = 0
        out[..., c] = np.real(np.fft.ifft2(spectrum * factors))
    return out
