"""Decode images: from the bytes of an image file to a square of pixels."""

from typing import Any

import numpy as np

from pipeline.config.framing import Framing
from pipeline.data import pictures
from pipeline.data.framing import AS_BEFORE, framed


def decode(
    image: bytes, resize: int | None, crop: int, framing: Framing = AS_BEFORE, exif: bool = False
) -> np.ndarray[Any, Any]:
    """Return the pixels of an encoded image, (3, crop, crop) uint8.

    resize, crop, framing   how the image becomes a square; see `pipeline.data.framing`
    exif    turn the image as its EXIF orientation says; default: as it is stored
    Raises ValueError if the bytes are not a whole image of a known kind and mode, or if it is too large or too small.
    """
    return np.asarray(framed(pictures.opened(image, exif), resize, crop, framing)).transpose(2, 0, 1).copy()
