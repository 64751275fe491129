"""Group 10, Gaussian blur: separable, linear in the image, so the gradient is exact."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from bart import rng
from bart.types import Gradient, Params, Size, Transform

LARGEST = 3.0
TRUNCATE = 4.0
"""The window ends at round(4 sigma), as in scipy.ndimage and scikit-image."""
REACH = int(TRUNCATE * LARGEST + 0.5)
"""The largest window's reach in pixels: all windows are as wide, and the narrower ones end in zeros."""
CHUNK_CPU = 2**20
"""Pixels that a CPU works on together, about what its caches hold; a GPU takes all planes at once."""


def draw(keys: Tensor, size: Size) -> Params:
    """`sigma` (n, 3) in .1..3 pixels, whatever the size; a shared coin gives the three channels one value."""
    sigma = rng.uniform(keys, "sigma", 0.1, LARGEST, (3,))
    return {"sigma": torch.where(rng.coin(keys, "shared")[:, None], sigma[:, :1], sigma)}


def _windows(sigma: Tensor) -> Tensor:
    """Gaussian weights from -REACH to REACH, summing to one over the window of each sigma: (m,) to (m, 2 REACH + 1)."""
    sigma = sigma.double()[:, None]  # a window must not end a pixel early for a rounding error
    offset = torch.arange(-REACH, REACH + 1, device=sigma.device)
    inside = offset.abs() <= (TRUNCATE * sigma + 0.5).floor()
    weights = torch.exp(-0.5 * (offset / sigma).square()) * inside
    return weights / weights.sum(dim=1, keepdim=True)


def _extend(x: Tensor, dim: int) -> Tensor:
    """The border repeated REACH times on both ends of `dim`; unlike `pad`, its backward pass on a GPU adds in a fixed order."""
    shape = list(x.shape)
    shape[dim] = REACH
    return torch.cat([x.narrow(dim, 0, 1).expand(shape), x, x.narrow(dim, -1, 1).expand(shape)], dim)


def _blur(planes: Tensor, windows: Tensor) -> Tensor:
    """Planes (m, h, w), each by its own window (m, 2 REACH + 1), down and across."""
    m, one = len(planes), planes[None]
    one = conv2d(_extend(one, 2), windows[:, None, :, None], groups=m)
    return conv2d(_extend(one, 3), windows[:, None, None, :], groups=m)[0]


def apply(x: Tensor, params: Params) -> Tensor:
    """Each channel blurred with its own sigma, the border repeated outwards (mode "nearest")."""
    planes, windows = x.flatten(0, 1), _windows(params["sigma"].reshape(-1)).to(x.dtype)
    size = max(1, CHUNK_CPU // (x.shape[2] * x.shape[3])) if x.device.type == "cpu" else max(1, len(planes))
    chunks = zip(planes.split(size), windows.split(size), strict=True)
    return torch.cat([_blur(*chunk) for chunk in chunks]).view(x.shape)


GAUSSIAN_BLUR = Transform("gaussian_blur", "denoising", draw, apply, Gradient.EXACT, {"sigma": LARGEST})
