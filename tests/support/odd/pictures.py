"""Image files of every kind and mode, each with the pixels that a viewer shows, or None where it must be refused."""

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 32
GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
GREY16 = GENERATOR.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
COLOUR = GENERATOR.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
ALPHA = GENERATOR.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
TABLE = GENERATOR.integers(0, 256, (256, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(SIDE), k * np.arange(SIDE)) for k in (1, 2, 3)], -1).astype(np.uint8)
"""For kinds that lose a little."""


class Picture(NamedTuple):
    """An encoded image, the pixels to expect, (SIDE, SIDE, 3) uint8, how far they may be off, and what the page says."""

    data: bytes
    truth: np.ndarray | None
    off: int
    said: str


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth, color, rows, *chunks):
    """A PNG written by hand: what Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, depth, color, 0, 0, 0))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def rgb(grey):
    return np.repeat(grey[..., None], 3, -1)


def turned():
    """A JPEG whose EXIF orientation asks to turn it by a quarter."""
    exif = Image.Exif()
    exif[274] = 6
    return encoded(Image.fromarray(SMOOTH), "JPEG", quality=100, subsampling=0, exif=exif)


def big16(array):
    return array.astype(">u2")


COLOUR16 = COLOUR.astype(np.uint16) * 256 + 77
PICTURES = {
    "PNG, 8-bit grey": Picture(encoded(Image.fromarray(GREY)), rgb(GREY), 0, "grey"),
    "PNG, 16-bit grey": Picture(encoded(Image.fromarray(GREY16)), rgb((GREY16 >> 8).astype(np.uint8)), 0, "the high byte"),
    "PNG, 16-bit colour": Picture(png(16, 2, big16(COLOUR16)), COLOUR, 0, "the high byte"),
    "PNG, 16-bit grey with transparency": Picture(
        png(16, 4, big16(np.stack([GREY16, GREY16[::-1]], -1))), rgb((GREY16 >> 8).astype(np.uint8)), 0, "the high byte"
    ),
    "PNG, black and white (1 bit)": Picture(
        encoded(Image.fromarray(GREY > 127)), rgb((GREY > 127) * np.uint8(255)), 0, "0 and 255"
    ),
    "PNG, grey of 2 bits": Picture(
        png(2, 0, np.packbits(np.unpackbits(GREY >> 6, axis=1).reshape(SIDE, SIDE, 8)[..., 6:].reshape(SIDE, -1), axis=1)),
        rgb((GREY >> 6) * np.uint8(85)), 0, "scaled to 0 ... 255",
    ),
    "PNG, colour with transparency": Picture(
        encoded(Image.fromarray(np.dstack([COLOUR, ALPHA]))), COLOUR, 0, "the colours under the transparency"
    ),
    "PNG, grey with transparency": Picture(
        encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])), rgb(GREY), 0,
        "the grey under the transparency",
    ),
    "PNG, grey with one transparent level": Picture(encoded(Image.fromarray(GREY), transparency=7), rgb(GREY), 0, "grey"),
    "PNG, palette": Picture(png(8, 3, GREY, (b"PLTE", TABLE.tobytes())), TABLE[GREY], 0, "the colours of the table"),
    "PNG, palette with transparency": Picture(
        png(8, 3, GREY, (b"PLTE", TABLE.tobytes()), (b"tRNS", ALPHA.tobytes()[:256])), TABLE[GREY], 0,
        "the colours of the table",
    ),
    "PNG, palette without its table": Picture(png(8, 3, GREY), None, 0, ""),
    "PNG, palette with an empty table": Picture(png(8, 3, GREY, (b"PLTE", b"")), None, 0, ""),
    "PGM, 16-bit grey": Picture(
        b"P5 %d %d 65535 " % (SIDE, SIDE) + big16(GREY16).tobytes(), rgb((GREY16 >> 8).astype(np.uint8)), 0, "the high byte"
    ),
    "PPM": Picture(b"P6 %d %d 255 " % (SIDE, SIDE) + COLOUR.tobytes(), COLOUR, 0, "as it is"),
    "JPEG": Picture(encoded(Image.fromarray(SMOOTH), "JPEG", quality=100, subsampling=0), SMOOTH, 4, "as it is"),
    "JPEG, grey": Picture(encoded(Image.fromarray(SMOOTH[..., 0]), "JPEG", quality=100), rgb(SMOOTH[..., 0]), 4, "grey"),
    "JPEG, CMYK": Picture(
        encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=100), SMOOTH, 8, "as it is, without its colour profile"
    ),
    "JPEG, turned by its EXIF orientation": Picture(turned(), SMOOTH, 4, "not turned; turned with `exif: true`"),
    "WebP": Picture(encoded(Image.fromarray(COLOUR), "WEBP", lossless=True), COLOUR, 0, "as it is"),
    "WebP with several pictures": Picture(
        encoded(Image.fromarray(COLOUR), "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]),
        COLOUR, 0, "the first one",
    ),
    "AVIF": Picture(encoded(Image.fromarray(SMOOTH), "AVIF", quality=100, subsampling="4:4:4"), SMOOTH, 4, "as it is"),
    "TIFF, GIF, BMP, SVG and others": Picture(encoded(Image.fromarray(COLOUR), "TIFF"), None, 0, ""),
    "PNG that ends too early": Picture(encoded(Image.fromarray(COLOUR))[:900], None, 0, ""),
    "no byte at all": Picture(b"", None, 0, ""),
    "smaller than the crop": Picture(encoded(Image.fromarray(COLOUR[:20])), None, 0, ""),
}  # fmt: skip
