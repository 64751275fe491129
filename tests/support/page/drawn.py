"""Draw the pictures of a synthetic store: a shape of its class, the noise of an attack, what a defense makes of it."""

import hashlib
import io

import numpy as np
from PIL import Image, ImageFilter

from tests.support.page.store import CLASSES

SIZE = 96


def png(key, cell, what):
    """A picture of an image as PNG; `what` as api/picture.png takes it."""
    clean, noise = _shape(key), _noise(key, cell)
    if what.startswith("clean"):
        pixels = clean
    elif what == "difference":
        pixels = 0.5 + 12 * noise
    else:
        pixels = clean + noise
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    if "-draw-" in what:
        draw = int(what.rpartition("-")[2])
        image = image.filter(ImageFilter.GaussianBlur(draw % 4)).rotate(5 * (draw % 5 - 2), fillcolor=(120, 120, 120))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _rng(*texts):
    return np.random.default_rng(list(hashlib.sha256("|".join(texts).encode()).digest()[:8]))


def _shape(key):
    rng, (y, x) = _rng(key), np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    x, y = x + rng.uniform(-0.2, 0.2), y + rng.uniform(-0.2, 0.2)
    r, square = np.hypot(x, y), np.maximum(abs(x), abs(y))
    inside = {
        "disc": r < 0.6, "ring": (r > 0.4) & (r < 0.65), "square": square < 0.55, "frame": (square > 0.4) & (square < 0.62),
        "cross": (abs(x) < 0.16) | (abs(y) < 0.16), "stripes": np.sin(16 * x) > 0,
        "checks": np.sin(12 * x) * np.sin(12 * y) > 0,
        "dots": np.hypot(np.sin(8 * x), np.sin(8 * y)) < 0.6,
    }[next(name for name in CLASSES if name in key)]  # fmt: skip
    one, two = rng.uniform(0.15, 0.45, 3), rng.uniform(0.55, 0.9, 3)
    light = 0.12 * (x + y)[..., None]
    return np.where(inside[..., None], two, one) + light


def _noise(key, cell):
    return 8 / 255 * np.sign(_rng(key, cell).normal(size=(SIZE // 4, SIZE // 4, 3))).repeat(4, 0).repeat(4, 1)
