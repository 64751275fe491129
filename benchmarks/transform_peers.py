"""Compare transforms on a CPU with libraries and an earlier build: python -m benchmarks.transform_peers --before COMMIT

All take the same photographs in turns, on one thread, in processor time: this build and the one before in processes of their
own, forward, and forward and backward; the libraries here. All keep the memory that they give back, as workers do, and each
turn is the median of a few calls. Prints milliseconds an image, each the median over rounds, and two ratios: how many times as
fast as the build before, and how many times as long as the fastest library takes.

A library counts if its function does the same work: the same precision, on 8 bits only where ours is; its parameters may be
fixed, as time does not depend on them. `UNLIKE` says which do less; they are named in brackets, and only where no other is.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import torch

from bart import TRANSFORMS
from benchmarks.side_by_side import ROOT, Build, builds, checkout
from pipeline.execution.worker import MALLOPT, keep_memory
from tests.support.images import photographs

try:
    import cv2
    import kornia
    import pywt
    import skimage.restoration
except ModuleNotFoundError as error:
    raise SystemExit(
        f"transform_peers: {error.name} is not installed, one of the libraries to compare with: "
        "pip install opencv-python-headless kornia PyWavelets scikit-image"
    ) from error

SIDE, IMAGES, CALLS = 224, 4, 5
Peer = Callable[[np.ndarray], object]
"""Takes an image (h, w, 3) float32 in [0, 1]."""

UNLIKE = {
    ("swirl", "OpenCV"): "angles from tables, a fiftieth of a pixel off",
    ("lab", "OpenCV"): "interpolates a table, half a level of 8 bits off",
    ("hist_eq", "OpenCV"): "8 bits, no interpolation",
    ("clahe", "OpenCV"): "8 bits",
}
"""What a library's function leaves out that ours does, by transform and library."""

BUILD = """
import ctypes, sys, time
from statistics import median
import torch
from bart import TRANSFORMS, Gradient, key
from tests.support.images import photographs
torch.set_num_threads(1)
for setting, value in eval(sys.argv[2]).items():
    ctypes.CDLL(None).mallopt(setting, value)
x = photographs(int(sys.argv[1]), int(sys.argv[1]), 4).contiguous()
keys = torch.tensor([key("peers", i) for i in range(len(x))])
for line in sys.stdin:
    transform = TRANSFORMS[line.strip()]
    params = transform.draw(keys, (x.shape[2], x.shape[3]))
    leaf, ahead, both = x.clone().requires_grad_(), [], []
    for _ in range(int(sys.argv[3])):
        began = time.process_time()
        with torch.no_grad():
            transform.unclipped(x, params)
        ahead.append(time.process_time() - began)
    for _ in range(int(sys.argv[3])):
        began = time.process_time()
        y = transform.unclipped(leaf, params)
        if transform.gradient is not Gradient.NONE:
            torch.autograd.grad(y, leaf, torch.ones_like(y))
        both.append(time.process_time() - began)
    print(median(ahead), median(both), flush=True)
"""


def bytes_of(x: np.ndarray) -> np.ndarray:
    """Return an image with 8 bits."""
    return np.rint(x * 255).astype(np.uint8)


def on_bytes(function: Peer, x: np.ndarray) -> object:
    """Apply a function of 8-bit images."""
    return function(bytes_of(x))


def planes(function: Peer, x: np.ndarray) -> object:
    """Apply a function channel by channel."""
    return [function(np.ascontiguousarray(x[..., c])) for c in range(3)]


def there_and_back(forth: int, back: int, x: np.ndarray) -> Any:
    """Shift a colour in another space."""
    return cv2.cvtColor(cv2.cvtColor(x, forth) + np.float32(0.01), back)


def compressed(x: np.ndarray) -> object:
    """Encode and decode as JPEG, quality 75."""
    return cv2.imdecode(cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_COLOR)


def shrunk(wavelet: str, x: np.ndarray) -> object:
    """Shrink wavelet details softly."""
    bands = pywt.wavedec2(x, wavelet, "symmetric", level=2)
    return pywt.waverec2([bands[0], *(tuple(pywt.threshold(d, 0.02) for d in level) for level in bands[1:])], wavelet)


def stretched(x: np.ndarray) -> object:
    """Stretch the contrast between two percentiles."""
    low, high = np.percentile(x, (2, 98))
    return (np.clip(x, low, high) - low) / (high - low)


def blended(x: np.ndarray) -> object:
    """Add Gaussian noise."""
    return np.clip(x + cv2.randn(np.empty_like(x), np.zeros(1), np.full(1, 0.1)), 0, 1)


def kornias(function: Callable[..., object]) -> Peer:
    """Return a function of kornia, of one image."""
    return lambda x: function(torch.from_numpy(x).permute(2, 0, 1)[None].contiguous())


def colours(space: str) -> dict[str, Peer]:
    """Return a shift in another space."""
    forth, back = (getattr(cv2, f"COLOR_{a}2{b}") for a, b in (("RGB", space), (space, "RGB")))
    first, second = (getattr(kornia.color, name) for name in (f"rgb_to_{space.lower()}", f"{space.lower()}_to_rgb"))
    return {"OpenCV": partial(there_and_back, forth, back), "kornia": kornias(lambda x: second(first(x) + 0.01))}


def lit(x: np.ndarray) -> object:
    """Shift a colour in XYZ of linear light, which OpenCV's XYZ takes for granted."""
    light = np.where(x > 0.04045, cv2.pow((x + np.float32(0.055)) / np.float32(1.055), 2.4), x / np.float32(12.92))
    light = there_and_back(cv2.COLOR_RGB2XYZ, cv2.COLOR_XYZ2RGB, light)
    curved = cv2.pow(np.maximum(light, np.float32(0)), 1 / 2.4) * np.float32(1.055) - np.float32(0.055)
    return np.where(light > 0.0031308, curved, light * np.float32(12.92))


def lit_by_kornia(x: torch.Tensor) -> object:
    """Shift a colour in XYZ of linear light, which kornia's XYZ takes for granted, too."""
    space = kornia.color
    return space.linear_rgb_to_rgb(space.xyz_to_rgb(space.rgb_to_xyz(space.rgb_to_linear_rgb(x)) + 0.01))


def swirled(x: np.ndarray) -> object:
    """Swirl by OpenCV's map, which takes angles from tables."""
    across, down = np.meshgrid(np.arange(SIDE, dtype=np.float32) - 100, np.arange(SIDE, dtype=np.float32) - 90)
    radius, angle = cv2.cartToPolar(across, down)
    return remapped(x, *cv2.polarToCart(radius, angle + np.exp(-radius / 20)))


def swirled_exactly(x: np.ndarray) -> object:
    """Swirl by NumPy's map."""
    across, down = np.arange(SIDE, dtype=np.float32) - 100, np.arange(SIDE, dtype=np.float32)[:, None] - 90
    angle = np.exp(np.hypot(across, down) / np.float32(-20))
    cos, sin = np.cos(angle), np.sin(angle)
    return remapped(x, across * cos - down * sin, across * sin + down * cos)


def remapped(x: np.ndarray, column: np.ndarray, row: np.ndarray) -> object:
    """Sample an image at places beside its centre."""
    return cv2.remap(x, column + 100, row + 90, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def spectral(x: np.ndarray) -> object:
    """Multiply the coefficients of the spectrum by random factors, the same for all channels."""
    gains = np.random.default_rng(0).random((SIDE, SIDE // 2 + 1), np.float32) * np.float32(0.04) + np.float32(0.98)
    return scipy.fft.irfft2(scipy.fft.rfft2(x.transpose(2, 0, 1)) * gains)


def peers() -> dict[str, dict[str, Peer]]:
    """Return the functions of other libraries by transform and library."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    box = disk.astype(np.float32) / disk.sum()
    clahe = cv2.createCLAHE(2.0, (8, 8))
    mixed = np.full((3, 3), 1 / 3, np.float32)
    found: dict[str, dict[str, Peer]] = {
        "color_precision": {"NumPy": lambda x: np.rint(x * np.float32(50)) / np.float32(50)},
        "jpeg": {"OpenCV": partial(on_bytes, compressed)},
        "swirl": {"OpenCV": swirled, "NumPy, OpenCV": swirled_exactly},
        "noise": {"OpenCV": blended, "NumPy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 0.1, x.shape), 0, 1)},
        "fft": {"SciPy": spectral},
        "zoom": {"OpenCV": lambda x: cv2.resize(x[20:200, 20:200], (SIDE, SIDE))},
        "xyz": {"OpenCV": lit, "kornia": kornias(lit_by_kornia)},
        "lab": colours("LAB"),
        "hsv": colours("HSV"),
        "yuv": colours("YUV"),
        "hist_eq": {"OpenCV": partial(planes, partial(on_bytes, cv2.equalizeHist)), "kornia": kornias(kornia.enhance.equalize)},
        "clahe": {"OpenCV": partial(planes, partial(on_bytes, clahe.apply)), "kornia": kornias(kornia.enhance.equalize_clahe)},
        "contrast_stretch": {"NumPy": stretched},
        "gaussian_blur": {"OpenCV": lambda x: cv2.GaussianBlur(x, (0, 0), 1.5),
                          "SciPy": lambda x: scipy.ndimage.gaussian_filter(x, (1.5, 1.5, 0))},
        "median": {"OpenCV": partial(on_bytes, lambda x: cv2.medianBlur(x, 7)),
                   "SciPy": partial(planes, partial(on_bytes, lambda x: scipy.ndimage.median_filter(x, footprint=disk)))},
        "mean": {"OpenCV": partial(on_bytes, lambda x: cv2.filter2D(x, -1, box))},
        "mean_bilateral": {"OpenCV": partial(on_bytes, lambda x: cv2.bilateralFilter(x, 23, 12, 11))},
        "tv_chambolle": {"scikit-image": lambda x: skimage.restoration.denoise_tv_chambolle(x, 0.15, channel_axis=2)},
        "wavelet": {"PyWavelets": partial(planes, lambda x: [shrunk(name, x) for name in ("haar", "sym9")])},
        "nl_means": {"OpenCV": partial(on_bytes, lambda x: cv2.fastNlMeansDenoisingColored(x, None, 3, 3, 7, 17))},
    }  # fmt: skip
    return found | {name: {"OpenCV": lambda x: cv2.transform(x, mixed)} for name in
                    ("grey_mix", "grey_partial_mix", "grey_two_thirds", "grey_one_channel")}  # fmt: skip


def times(build: Build, name: str) -> tuple[float, float]:
    """Return the milliseconds an image of a transform of a build, forward, and forward and backward."""
    ahead, both = (1e3 * float(number) / IMAGES for number in build.ask(name).split())
    return ahead, both


def timed(function: Peer, images: list[np.ndarray]) -> float:
    """Return the milliseconds an image of a library's function."""
    took = []
    for _ in range(CALLS):
        began = time.process_time()
        for image in images:
            function(image)
        took.append(time.process_time() - began)
    return 1e3 * float(np.median(took)) / len(images)


def compared(name: str, others: dict[str, Peer], both: list[Build], images: list[np.ndarray], rounds: int) -> str:
    """Return a line of the table."""
    ours, theirs = [], []
    for _ in range(rounds + 1):
        ours.append([times(build, name) for build in both])
        theirs.append([timed(function, images) for function in others.values()])
    (before, after), libraries = np.median(ours[1:], axis=0), np.median(theirs[1:], axis=0)
    line = f"{name:<18} {after[0]:8.2f} {after[1]:8.2f} {before[0] / after[0]:8.2f} {before[1] / after[1]:8.2f}"
    if not others:
        return line
    library, time = min(zip(others, libraries, strict=True), key=lambda pair: ((name, pair[0]) in UNLIKE, pair[1]))
    remark = f"({library}: {UNLIKE[name, library]})" if (name, library) in UNLIKE else library
    return f"{line} {time:8.2f} {after[0] / time:8.2f}  {remark}"


def main() -> None:
    """Print a line a transform."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", required=True, help="a commit")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--only", nargs="*", default=None, help="names of transforms")
    asked = options.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = [np.ascontiguousarray(image) for image in photographs(SIDE, SIDE).permute(0, 2, 3, 1).numpy()]
    found = peers()
    print(f"{IMAGES} photographs of {SIDE} px, one thread, processor time; ms an image, and ratios")
    print(f"{'':<18} {'forward':>8} {'and back':>8} {'before /':>8} {'and back':>8} {'library':>8} {'ours /':>8}")
    with checkout(asked.before) as before, builds([before, ROOT], "-c", BUILD, SIDE, MALLOPT, CALLS) as both:
        for name in asked.only or TRANSFORMS:
            print(compared(name, found.get(name, {}), both, images, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
