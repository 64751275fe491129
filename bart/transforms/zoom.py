"""Crop at random margins and enlarge to the full size. Group 6, zoom; linear in the image, exact gradient."""

import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels.clip import fits
from bart.types import Gradient, Params, Size, Transform, pixels

GROUP = "zoom"


def unit(places: Tensor, side: int) -> Tensor:
    """Return places in pixels as PyTorch wants them: -1 and 1 are the centres of the first and the last pixel."""
    return places * (2 / max(side - 1, 1)) - 1


def bilinear(x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Sample each image of `x` (n, 3, h, w) bilinearly at pixel coordinates that broadcast to (n, h, w).

    Coordinate 0 is the centre of the first pixel. Samples outside the image are mirrored about the centres of the border
    pixels, which NumPy and scikit-image call "reflect" and `scipy.ndimage` "mirror".
    """
    height, width = x.shape[-2:]
    shape = (len(x), height, width)
    across, down = unit(columns, width).expand(shape), unit(rows, height).expand(shape)
    if fits(x):
        from bart.cpu_kernels.sampling import Sampled

        fast: Tensor = Sampled.apply(x, across, down)
        return fast
    grid = torch.stack([across, down], dim=-1)
    return torch.nn.functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def resize_coordinates(start: Tensor, length: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Return where `skimage.transform.resize` to `side` pixels samples the pixels start..start + length - 1: (n, side).

    It aligns pixel areas, not centres. So the outermost samples are outside the centres of the crop's border pixels, and are
    mirrored about them; pixels outside the crop are never read.
    """
    start, length = start[:, None].to(dtype), length[:, None].to(dtype)
    within = (torch.arange(side, device=start.device, dtype=dtype) + 0.5) * (length / side) - 0.5
    last = length - 1
    return start + (last - (last - within.abs()).abs()).clamp_min(0)  # a single pixel is its own mirror image


def draw(keys: Tensor, size: Size) -> Params:
    """Return `margin` (n, 4) int, pixels cut off at the left, right, top and bottom: 10..50 for 256 px, one key an image.

    Left and right scale with the width, top and bottom with the height. At least one pixel stays.
    """
    across, down = (
        rng.integers(keys, name, pixels(10, side, (side - 1) // 2), pixels(50, side, (side - 1) // 2), (2,))
        for name, side in (("across", size[1]), ("down", size[0]))
    )
    return {"margin": torch.cat([across, down], dim=1)}


def apply(x: Tensor, params: Params) -> Tensor:
    """Crop by the margins and resize to the full size. x (n, 3, h, w). Source: `skimage.transform.resize`, order 1."""
    height, width = x.shape[-2:]
    left, right, top, bottom = params["margin"].unbind(dim=1)
    columns = resize_coordinates(left, width - left - right, width, x.dtype)
    rows = resize_coordinates(top, height - top - bottom, height, x.dtype)
    if fits(x):
        from bart.cpu_kernels.sampling import Resized

        fast: Tensor = Resized.apply(x, unit(columns, width), unit(rows, height))
        return fast
    return bilinear(x, columns[:, None, :], rows[:, :, None])


ZOOM = Transform("zoom", GROUP, draw, apply, Gradient.EXACT, {"margin": 50}, frozenset({"margin"}))
