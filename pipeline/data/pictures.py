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

VERSION = 2
"""Version of what an encoded image becomes. In version 1, of release 0.1, some images were others: see `before`."""

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
        if _lacks_palette(picture):
            raise ValueError("its pixels are numbers of a palette, and it has none")
        picture.load()
        return rgb(ImageOps.exif_transpose(picture) if exif else picture, picture.format)
    except UnidentifiedImageError:
        *some, last = formats()
        raise ValueError(f"the bytes are no {', '.join(some)} or {last} image") from None
    except MemoryError:  # the machine's fault: another one may have room
        raise
    except Exception as error:  # a decoder may raise anything on a strange file
        raise ValueError(steady(error)) from None


def before(image: bytes) -> str:
    """Return in words what an encoded image was in version 1, if something else than now; empty if it was the same."""
    try:
        picture = Image.open(io.BytesIO(image), formats=formats())
    except Exception:  # unreadable in both
        return ""
    if picture.format not in ("JPEG", "MPO", "PNG"):
        return f"was `bad_image` as a {picture.format} file"
    if picture.mode.startswith("I"):
        return "was clipped from 16 bits to white"
    return "was grey for the lack of a palette" if _lacks_palette(picture) else ""


def _lacks_palette(picture: Image.Image) -> bool:
    """Return whether the pixels of a picture, not loaded yet, are numbers of a palette that it does not have."""
    return picture.mode == "P" and not (picture.palette and picture.palette.palette)


def rgb(picture: Image.Image, kind: str | None = None) -> Image.Image:
    """Return a picture of any mode in mode RGB, as a viewer shows it.

    kind  of file it comes from, as Pillow calls it: for some kinds, a mode of 32 bits holds 16
    Raises ValueError for a mode without a certain range.
    """
    picture.info.pop("transparency", None)  # Pillow would warn that it is dropped
    mode = "I;16" if picture.mode == "I" and kind in ("PNG", "PPM") else picture.mode
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
