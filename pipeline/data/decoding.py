"""Decode images: from the bytes of an image file to a square of pixels."""

from typing import Any

import numpy as np
from PIL import Image

from pipeline.data import pictures


def decode(image: bytes, resize: int | None, crop: int, exif: bool = False) -> np.ndarray[Any, Any]:
    """Return the pixels of an encoded image, (3, crop, crop) uint8.

    resize  length of the shorter side after resizing (bicubic); None: the image keeps its size
    crop    side of the square that is cut from the centre
    exif    turn the image as its EXIF orientation says; default: as it is stored
    Raises ValueError if the bytes are not a whole image of a known kind and mode, or if it is too large or too small.
    """
    picture = pictures.opened(image, exif)
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
    if size[0] * size[1] > pictures.MAX_PIXELS:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels after resizing, more than {pictures.MAX_PIXELS}: too long for its width"
        )
    return picture.resize(size, Image.Resampling.BICUBIC)
