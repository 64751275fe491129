"""Shrink wavelet details, averaged over shifts. Group 10, denoising; no derivative.

Source: `skimage.restoration.cycle_spin` of `denoise_wavelet` with BayesShrink. Each plane, RGB or YCbCr stretched to [0, 1],
is decomposed with pywt's symmetric extension. Its noise is the median of the finest diagonal details over .6745, without exact
zeros. Each band is shrunk by noise^2 / deviation of its signal.

On a CPU this is compiled, one image per thread, with the bits of PyWavelets. On a device the three filter banks (db1 is haar)
run on the whole batch and each image takes its own: three times the work, and no waiting for the device. There the details
for the noise are computed in float64 in PyWavelets' own order of operations: in an 8-bit image a tenth of them are zero up to
rounding, and whether a zero is exact moves the median. A plane without any such detail, where scikit-image returns NaN, does
not change.

Sources: Donoho and Johnstone, Biometrika 1994 (noise); Chang, Yu, Vetterli, IEEE TIP 2000 (BayesShrink); Coifman and Donoho,
1995 (shifts); Daubechies, Ten Lectures on Wavelets, 1992 (filters).
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels import Image, map_images
from bart.transforms.denoising.borders import mirrored
from bart.types import Gradient, Params, Size, Transform

WAVELETS = ("db1", "db2", "haar", "sym9")
OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The offsets of a shift by at most one pixel."""

# Low-pass analysis filters.
_HAAR = (0.7071067811865476, 0.7071067811865476)
DB2 = (-0.12940952255126037, 0.2241438680420134, 0.8365163037378079, 0.48296291314453416)
_SYM9 = (
    0.0014009155259146807,
    0.0006197808889855868,
    -0.013271967781817119,
    -0.01152821020767923,
    0.03022487885827568,
    0.0005834627461258068,
    -0.05456895843083407,
    0.238760914607303,
    0.717897082764412,
    0.6173384491409358,
    0.035272488035271894,
    -0.19155083129728512,
    -0.018233770779395985,
    0.06207778930288603,
    0.008859267493400484,
    -0.010264064027633142,
    -0.0004731544986800831,
    0.0010694900329086053,
)
FILTERS = {"db1": _HAAR, "db2": DB2, "haar": _HAAR, "sym9": _SYM9}

_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
"""ITU-R BT.601, without the offsets, which the stretching removes."""
_QUARTILE = 0.6744897501960817
"""The upper quartile of N(0, 1)."""
_LEAST = float(np.finfo(np.float64).eps)
"""The least variance of a signal: a band with less is shrunk to zero."""

Taps = tuple[float, ...]
"""The coefficients of a filter."""


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    ycbcr   (n,) bool: denoise in YCbCr instead of RGB
    wavelet (n,) int 0..3 of db1, db2, haar, sym9
    soft    (n,) bool: soft or hard thresholds
    shift   (n,) int 0..1: average over shifts by up to this many pixels
    """
    return {
        "ycbcr": rng.coin(keys, "ycbcr"),
        "wavelet": rng.integers(keys, "wavelet", 0, len(WAVELETS) - 1),
        "soft": rng.coin(keys, "soft"),
        "shift": rng.integers(keys, "shift", 0, 1),
    }


def _levels(side: int, length: int) -> int:
    """Return three levels fewer than the filter could decompose the shorter side into, at least one."""
    return max(1, (side // (length - 1)).bit_length() - 4)


def _high(low: Taps) -> Taps:
    """Return the high-pass filter of an orthogonal bank, its quadrature mirror."""
    return tuple(tap * (-1) ** (k + 1) for k, tap in enumerate(reversed(low)))


def _windows(x: Tensor, length: int, axis: int) -> list[Tensor]:
    """Return the entries that each tap of a filter multiplies: every other entry of `x` with its ends mirrored."""
    size = x.shape[axis]
    count = (size + length - 1) // 2
    x = mirrored(x, axis, length - 2, 2 * count - size, twice=True).movedim(axis, 0)
    return [x[length - 1 - k : length - 1 - k + 2 * count : 2].movedim(0, axis) for k in range(length)]


def _weigh(windows: list[Tensor], taps: Taps) -> Tensor:
    """Return the sum of the windows, weighted by the taps."""
    out = windows[0] * taps[0]
    for window, tap in zip(windows[1:], taps[1:], strict=True):
        out.add_(window, alpha=tap)
    return out


def _analyse(x: Tensor, low: Taps, axis: int) -> Tensor:
    """Return approximation and details along `axis`, (2, *x.shape) with `axis` halved."""
    windows = _windows(x, len(low), axis)
    return torch.stack([_weigh(windows, low), _weigh(windows, _high(low))])


def _synthesise(pair: Tensor, low: Taps, axis: int, size: int) -> Tensor:
    """Invert `_analyse`, for an axis of `size`."""
    half = len(low) // 2
    count = pair.shape[axis] - half + 1
    banks = list(zip(pair, (low[::-1], _high(low)[::-1]), strict=True))
    windows = [band.narrow(axis, half - 1 - k, count) for band, _ in banks for k in range(half)]
    even, odd = (_weigh(windows, tuple(tap for _, taps in banks for tap in taps[start::2])) for start in (0, 1))
    end = axis % even.dim() + 1
    return torch.stack((even, odd), end).flatten(end - 1, end).narrow(axis, 0, size)


def noise(x: Tensor, low: Taps) -> Tensor:
    """Return the noise of each plane of `x` (..., h, w) float64; products and sums are rounded one by one as in PyWavelets."""
    for axis in (-2, -1):
        windows = _windows(x, len(low), axis)
        x = sum((window * tap for window, tap in zip(windows, _high(low), strict=True)), torch.zeros_like(windows[0]))
    magnitude = x.flatten(-2).abs().sort(dim=-1).values
    zeros = (magnitude == 0).sum(-1, keepdim=True)
    count = magnitude.shape[-1] - zeros
    middle = [(zeros + (count - 1 + k) // 2).clamp(0, magnitude.shape[-1] - 1) for k in (0, 1)]
    lower, upper = (magnitude.gather(-1, index) for index in middle)
    return (lower + upper)[..., None] / (2 * _QUARTILE)


def _shrink(bands: Tensor, variance: Tensor, soft: Tensor) -> Tensor:
    """Shrink the details of `bands` (2, 2, n, 3, h, w); `variance` (n, 3, 1, 1) of the noise, `soft` (n, 1, 1, 1)."""
    signal = bands.square().mean((-2, -1), keepdim=True).double() - variance
    threshold = (variance / signal.clamp_min(_LEAST).sqrt()).to(bands.dtype)
    threshold[0, 0] = 0
    return torch.where(bands.abs() < threshold, 0, bands - torch.copysign(threshold * soft, bands))


def _denoise(planes: Tensor, low: Taps, soft: Tensor) -> Tensor:
    """Denoise planes (n, 3, h, w) float64 by one filter bank, in float32 except for the noise."""
    variance = noise(planes, low).square()
    x, pyramid = planes.float(), []
    for _ in range(_levels(min(planes.shape[-2:]), len(low))):
        bands = _shrink(_analyse(_analyse(x, low, -2), low, -1), variance, soft)
        pyramid.append((bands, x.shape[-2:]))
        x = bands[0, 0]
    for bands, (height, width) in reversed(pyramid):
        bands[0, 0] = x[..., : bands.shape[-2], : bands.shape[-1]]
        x = _synthesise(_synthesise(bands, low, -1, width), low, -2, height)
    return x


@lru_cache(maxsize=16)
def _matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the colour matrix and its inverse on a device, copied there once."""
    return torch.from_numpy(_TO_YCBCR).to(device), torch.from_numpy(np.linalg.inv(_TO_YCBCR)).to(device)


def _device(x: Tensor, params: Params) -> Tensor:
    """Denoise the whole batch without waiting for the device."""
    ycbcr, soft, wavelet, shift = (params[name][:, None, None, None] for name in ("ycbcr", "soft", "wavelet", "shift"))
    to, back = _matrices(x.device)
    image = x.double()
    planes = torch.where(ycbcr, torch.einsum("ij,njhw->nihw", to, image), image)
    low = torch.where(ycbcr, planes.amin((2, 3), keepdim=True), 0)
    span = torch.where(ycbcr, planes.amax((2, 3), keepdim=True) - low, 1)
    planes = (planes - low) / torch.where(span == 0, 1, span)
    total = torch.zeros_like(x, dtype=torch.float32)
    bank = torch.where(wavelet == WAVELETS.index("haar"), WAVELETS.index("db1"), wavelet)
    for offset in OFFSETS:
        rolled, mean = planes.roll(offset, (2, 3)), torch.zeros_like(total)
        for name in ("db1", "db2", "sym9"):
            mean = torch.where(bank == WAVELETS.index(name), _denoise(rolled, FILTERS[name], soft.float()), mean)
        weight = torch.where(shift > 0, 0.25, 0 if any(offset) else 1)
        total += weight * mean.roll([-o for o in offset], (2, 3))
    planes = total * span + low
    return torch.where(ycbcr, torch.einsum("ij,njhw->nihw", back, planes), planes).to(x.dtype)


def noise_host(details: Image) -> float:
    """Return the noise of a plane from its finest diagonal `details` (h, w); zero if all are zero."""
    magnitude = np.abs(details).reshape(-1)
    zeros = magnitude.size - np.count_nonzero(magnitude)
    count = magnitude.size - zeros
    lower, upper = (int(np.clip(zeros + (count - 1 + k) // 2, 0, magnitude.size - 1)) for k in (0, 1))
    magnitude.partition((lower, upper))
    return float(magnitude[lower] + magnitude[upper]) / (2 * _QUARTILE)


def finest_details(plane: Image, low: Taps) -> Image:
    """Return the finest diagonal details of a plane (h, w) float64 on the host."""
    from bart.cpu_kernels.denoising.wavelet import analysed

    return analysed(plane, np.array(low), np.array(_high(low)))[3]


def _denoise_host(plane: Image, bank: list[Image], soft: bool) -> Image:
    """Denoise a plane (h, w) by one wavelet. `bank` has its filters: low and high-pass, of the analysis and the synthesis."""
    from bart.cpu_kernels.denoising.wavelet import analysed, shrink, synthesised

    variance, pyramid = None, []
    for _ in range(_levels(min(plane.shape), len(bank[0]))):
        approximation, *details = analysed(plane, bank[0], bank[1])
        variance = noise_host(details[2]) ** 2 if variance is None else variance
        for band in details:
            signal = np.square(band).mean() - variance
            shrink(band, variance / np.sqrt(max(signal, _LEAST)), soft)
        pyramid.append((details, plane.shape))
        plane = approximation
    for details, size in reversed(pyramid):
        plane = synthesised((plane, *details), bank[2], bank[3], size)
    return plane


def _host(image: Image, params: dict[str, Image]) -> Image:
    """Denoise one image."""
    planes = image.astype(np.float64)
    low, span = np.zeros((3, 1, 1)), np.ones((3, 1, 1))
    if params["ycbcr"]:
        planes = np.tensordot(_TO_YCBCR, planes, 1)
        low = planes.min(axis=(1, 2), keepdims=True)
        span = planes.max(axis=(1, 2), keepdims=True) - low
        planes = (planes - low) / np.where(span == 0, 1, span)
    taps, total, soft = FILTERS[WAVELETS[int(params["wavelet"])]], np.zeros_like(planes), bool(params["soft"])
    bank = [np.array(filter) for filter in (taps, _high(taps), taps[::-1], _high(taps)[::-1])]
    offsets = OFFSETS if params["shift"] else OFFSETS[:1]
    for offset in offsets:
        for plane, sums in zip(planes, total, strict=True):
            sums += np.roll(_denoise_host(np.roll(plane, offset, (0, 1)), bank, soft), [-o for o in offset], (0, 1))
    planes = total / len(offsets) * span + low
    return np.tensordot(np.linalg.inv(_TO_YCBCR), planes, 1) if params["ycbcr"] else planes


@torch.no_grad()
def apply(x: Tensor, params: Params) -> Tensor:
    """Return the images with their wavelet details shrunk. x (n, 3, h, w); no gradient."""
    return map_images(_host, x, params) if x.device.type == "cpu" else _device(x, params)


WAVELET = Transform(
    "wavelet",
    "denoising",
    draw,
    apply,
    Gradient.NONE,
    {"ycbcr": 1, "wavelet": len(WAVELETS) - 1, "soft": 1, "shift": 1},
    words={"wavelet": WAVELETS},
)
