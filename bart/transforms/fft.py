"""Group 5, FFT: a band of the spectrum is cut out and the rest is jittered. Linear in the image, so the gradient is exact.

The article's recipe works on the full spectrum and takes the real part of its inverse. An image's spectrum is Hermitian, so
that real part is the inverse of the same spectrum under the Hermitian half of the gains, (g(k) + g(-k)) / 2: half the
coefficients, and a real transform there and back.
"""

import torch
from torch import Tensor

from bart import rng
from bart.types import Gradient, Params, Size, Transform


def draw(keys: Tensor, size: Size) -> Params:
    """`keep` (n, 3) U(0, 0.95), the fraction of rows and columns kept at each end; `seed` (n,) of the factors."""
    return {"keep": rng.uniform(keys, "keep", 0.0, 0.95, (3,)), "seed": rng.bits(keys, "seed")}


def factors(seed: Tensor, size: Size) -> Tensor:
    """U(0.98, 1.02) per coefficient, shared by the channels: (n, h, w) float32 from `seed` (n,)."""
    return rng.field(seed, size) * 0.04 + 0.98


def _kept(keep: Tensor, side: int, count: int) -> tuple[Tensor, Tensor]:
    """Which of the frequencies k = 0..count-1 of a side remain, and which of -k, each (n, 3, count) in 0 and 1.

    Those from int(keep side) to int((1 - keep) side) go, in the order of the unshifted transform; none if keep >= 1/2.
    """
    keep = keep.double()[..., None]  # products of float32 would truncate to other integers than Python's
    first, last = (keep * side).floor(), ((1 - keep) * side).floor()
    k = torch.arange(count, device=keep.device)
    mirrored = (side - k) % side
    return (k < first) | (k >= last), (mirrored < first) | (mirrored >= last)


def apply(x: Tensor, params: Params) -> Tensor:
    """Rows and columns of each channel's spectrum zeroed, the others multiplied by the factors; the real part back."""
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
