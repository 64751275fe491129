"""Blur images by a Gaussian. Group 10, denoising; separable and linear in the image, exact gradient.

Source: `skimage.filters.gaussian`, mode "nearest", truncate 4.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from bart import rng
from bart.cpu_kernels.clip import fits
from bart.types import Gradient, Params, Size, Transform

LARGEST = 3.0
"""The largest sigma, in pixels."""
TRUNCATE = 4.0
"""The window ends at round(4 sigma), as in scipy.ndimage and scikit-image."""
REACH = int(TRUNCATE * LARGEST + 0.5)
"""The largest window's reach in pixels. All windows have this width; the narrower ones end in zeros."""
CHUNK_CPU = 2**20
"""Pixels that a CPU computes together, about what its caches hold; a GPU takes all planes at once."""


def draw(keys: Tensor, size: Size) -> Params:
    """Return `sigma` (n, 3) in .1..3 pixels, for any image size, one key an image.

    A shared coin gives the three channels one value.
    """
    sigma = rng.uniform(keys, "sigma", 0.1, LARGEST, (3,))
    return {"sigma": torch.where(rng.coin(keys, "shared")[:, None], sigma[:, :1], sigma)}


def _windows(sigma: Tensor) -> Tensor:
    """Return Gaussian weights from -REACH to REACH, which sum to one over the window of each sigma:

    (m,) to (m, 2 REACH + 1).
    """
    sigma = sigma.double()[:, None]  # a window must not end a pixel early for a rounding error
    offset = torch.arange(-REACH, REACH + 1, device=sigma.device)
    inside = offset.abs() <= (TRUNCATE * sigma + 0.5).floor()
    weights = torch.exp(-0.5 * (offset / sigma).square()) * inside
    return weights / weights.sum(dim=1, keepdim=True)


def _extend(x: Tensor, dim: int) -> Tensor:
    """Repeat the border REACH times on both ends of `dim`.

    Unlike that of `pad`, its backward pass adds in a fixed order on a GPU.
    """
    shape = list(x.shape)
    shape[dim] = REACH
    return torch.cat([x.narrow(dim, 0, 1).expand(shape), x, x.narrow(dim, -1, 1).expand(shape)], dim)


def _blur(planes: Tensor, windows: Tensor) -> Tensor:
    """Blur planes (m, h, w), each by its own window (m, 2 REACH + 1), down and across."""
    m, one = len(planes), planes[None]
    one = conv2d(_extend(one, 2), windows[:, None, :, None], groups=m)
    return conv2d(_extend(one, 3), windows[:, None, None, :], groups=m)[0]


def apply(x: Tensor, params: Params) -> Tensor:
    """Blur each channel with its own sigma, the border repeated outwards (mode "nearest"). x (n, 3, h, w)."""
    planes, windows = x.flatten(0, 1), _windows(params["sigma"].reshape(-1)).to(x.dtype)
    if fits(x):
        from bart.cpu_kernels.denoising.gaussian import Blur

        fast: Tensor = Blur.apply(planes, windows)
        return fast.view(x.shape)
    size = max(1, CHUNK_CPU // (x.shape[2] * x.shape[3])) if x.device.type == "cpu" else max(1, len(planes))
    chunks = zip(planes.split(size), windows.split(size), strict=True)
    return torch.cat([_blur(*chunk) for chunk in chunks]).view(x.shape)


GAUSSIAN_BLUR = Transform("gaussian_blur", "denoising", draw, apply, Gradient.EXACT, {"sigma": LARGEST})
