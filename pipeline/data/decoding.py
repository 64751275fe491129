"""Decode images: from the bytes of a JPEG or PNG file to a square of pixels."""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000
"""Images with more pixels, as stored or after resizing, are refused before they are decoded."""


def decode(image: bytes, resize: int | None, crop: int) -> np.ndarray[Any, Any]:
    """Return the pixels of an encoded image, (3, crop, crop) uint8.

    resize  length of the shorter side after resizing (bicubic); None: the image keeps its size
    crop    side of the square that is cut from the centre
    Raises ValueError if the bytes are not a whole JPEG or PNG image, or if it is too large or too small.
    """
    try:
        picture: Image.Image = Image.open(io.BytesIO(image), formats=("JPEG", "PNG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS}")
        picture = picture.convert("RGB")
    except UnidentifiedImageError:  # whose own text names an address in memory, so that no two rows would be the same
        raise ValueError("the bytes are neither a JPEG nor a PNG image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    if resize is not None:
        picture = _resized(picture, resize)
    left, top = (picture.width - crop) // 2, (picture.height - crop) // 2
    if left < 0 or top < 0:
        raise ValueError(f"{picture.width} x {picture.height} pixels, smaller than the crop of {crop}")
    return np.asarray(picture.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1).copy()


def _resized(picture: Image.Image, shorter: int) -> Image.Image:
    """Return a picture whose shorter side is `shorter` pixels long. Raises ValueError if the longer side would be too long."""
    scale = shorter / min(picture.size)
    size = (max(shorter, round(picture.width * scale)), max(shorter, round(picture.height * scale)))
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"{size[0]} x {size[1]} pixels after resizing, more than {MAX_PIXELS}: too long for its width")
    return picture.resize(size, Image.Resampling.BICUBIC)
