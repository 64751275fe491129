"""Decode images: from the bytes of a JPEG or PNG file to a square of pixels."""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.config.framing import Framing
from pipeline.data.framing import AS_BEFORE, MAX_PIXELS, framed


def decode(image: bytes, resize: int | None, crop: int, framing: Framing = AS_BEFORE) -> np.ndarray[Any, Any]:
    """Return the pixels of an encoded image, (3, crop, crop) uint8.

    resize, crop, framing   how the image becomes a square; see `pipeline.data.framing`
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
    return np.asarray(framed(picture, resize, crop, framing)).transpose(2, 0, 1).copy()
