"""Open encoded images as a viewer shows them: 8-bit RGB, from any colour mode that a file can have.

Values are scaled, never clipped: of 16 bits the high byte counts. Transparency is dropped, as torchvision does: each pixel
keeps the colour that stands under it. Colour profiles are ignored, and of an animation the first picture is taken, as there.
"""

import io
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from pipeline.errors import steady

MAX_PIXELS = 64_000_000
"""Images with more pixels, as stored or after resizing, are refused before they are decoded."""

ENDINGS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "ppm": "PPM", "webp": "WEBP", "avif": "AVIF"}
"""The endings of files that are images, and what each holds."""


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Return the kinds of files that are decoded: WebP and AVIF where Pillow was built with them."""
    return ("JPEG", "PNG", "PPM", *(kind for kind in ("WEBP", "AVIF") if features.check(kind.lower())))


def opened(image: bytes, exif: bool = False) -> Image.Image:
    """Return the picture of an encoded image, in mode RGB.

    exif    turn and mirror it as its EXIF orientation says; default: its pixels stay as they are stored
    Raises ValueError, whose text is the same on every run, if the bytes are no whole image or one without a certain meaning.
    """
    try:
        picture = Image.open(io.BytesIO(image), formats=formats())
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS}")
        if picture.mode == "P" and picture.palette is None:
            raise ValueError("its pixels are numbers of a palette, and it has none")
        picture.load()
        return rgb(ImageOps.exif_transpose(picture) if exif else picture)
    except UnidentifiedImageError:
        *some, last = formats()
        raise ValueError(f"the bytes are no {', '.join(some)} or {last} image") from None
    except MemoryError:  # the machine's fault: another one may have room
        raise
    except Exception as error:  # a decoder may raise anything on a strange file
        raise ValueError(steady(error)) from None


def rgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode in mode RGB, as a viewer shows it. Raises ValueError for a mode without a certain range."""
    picture.info.pop("transparency", None)  # Pillow would warn that it is dropped
    mode = "I;16" if picture.mode == "I" and picture.format in ("PNG", "PPM") else picture.mode
    if mode not in WAYS:
        raise ValueError(f"its pixels are of mode {mode}, which has no certain meaning as a picture: expected 8 or 16 bits")
    return WAYS[mode](picture)


def _plain(picture: Image.Image) -> Image.Image:
    """Convert as Pillow does, where that is right."""
    return picture.convert("RGB")


def _high_byte(picture: Image.Image) -> Image.Image:
    """Convert 16-bit grey by its high byte, as Pillow reads 16-bit colour; Pillow itself would clip at 255."""
    return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")


def _unmultiplied(to: str) -> Callable[[Image.Image], Image.Image]:
    """Convert colours that are multiplied by their opacity: to the colours themselves."""
    return lambda picture: picture.convert(to).convert("RGB")


WAYS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    **dict.fromkeys(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"), _plain),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), _high_byte),
    "La": _unmultiplied("LA"),
    "RGBa": _unmultiplied("RGBA"),
}
"""How each mode of Pillow becomes RGB. Others are refused: I and F have no range, LAB no white."""
