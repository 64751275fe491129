"""Cut a band out of the spectrum and multiply the rest by random factors. Group 5, FFT; linear in the image, exact gradient.

The article's recipe works on the full spectrum and takes the real part of its inverse. The spectrum of an image is Hermitian.
So that real part is the inverse of the same spectrum under the Hermitian part of the gains, (g(k) + g(-k)) / 2. This needs
half the coefficients, and a real transform in both directions.
"""

import torch
from torch import Tensor

from bart import rng
from bart.types import Gradient, Params, Size, Transform


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    keep    (n, 3) in 0..0.95: the fraction of rows and columns that is kept at each end
    seed    (n,) of the factors
    """
    return {"keep": rng.uniform(keys, "keep", 0.0, 0.95, (3,)), "seed": rng.bits(keys, "seed")}


def factors(seed: Tensor, size: Size) -> Tensor:
    """Return a factor in 0.98..1.02 per coefficient, shared by the channels: (n, h, w) float32 from `seed` (n,)."""
    return rng.field(seed, size) * 0.04 + 0.98


def _kept(keep: Tensor, side: int, count: int) -> tuple[Tensor, Tensor]:
    """Return which of the frequencies k = 0..count-1 of a side remain, and which of -k, (n, 3, count) bool each.

    Those from int(keep side) to int((1 - keep) side) are removed, in the order of the unshifted transform; none if keep >=
    1/2.
    """
    keep = keep.double()[..., None]  # products of float32 would truncate to other integers than Python's
    first, last = (keep * side).floor(), ((1 - keep) * side).floor()
    k = torch.arange(count, device=keep.device)
    mirrored = (side - k) % side
    return (k < first) | (k >= last), (mirrored < first) | (mirrored >= last)


def apply(x: Tensor, params: Params) -> Tensor:
    """Set rows and columns of each channel's spectrum to zero, multiply the others by the factors, and return the real part."""
    height, width = x.shape[-2:]
    half = width // 2 + 1
    rows, rows_mirrored = _kept(params["keep"], height, height)
    columns, columns_mirrored = _kept(params["keep"], width, half)
    gain = factors(params["seed"], (height, width)).to(x.dtype) / 2
    gain_mirrored = gain.flip(1, 2).roll((1, 1), (1, 2))  # of -k, for each k
    gains = (rows[..., :, None] & columns[..., None, :]) * gain[:, None, :, :half]
    gains += (rows_mirrored[..., :, None] & columns_mirrored[..., None, :]) * gain_mirrored[:, None, :, :half]
    y: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * gains, s=(height, width))
    return y


FFT = Transform("fft", "fft", draw, apply, Gradient.EXACT, {"keep": 0.95})
