"""Change image files, by bytes and by the chunks of their format; compare with Pillow itself and the rule of docs/images.md."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.fuzz.changes import NUMBERS, mutated, rearranged
from benchmarks.fuzz.kind import FAULTS, OTHER, SAME, Kind, Unsound, one_line
from pipeline.config.framing import Framing
from pipeline.data.decoding import decode
from pipeline.data.pictures import formats, opened
from tests.support.odd.pictures import PICTURES

SIDES = 24, 16
"""Width and height of the sound images that are made here."""

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA", "L"),
    "GIF": ("P", "L", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA", "L"),
    "PPM": ("1", "L", "RGB", "I;16"),
}
"""The modes in which Pillow writes each format."""

EXPECTED = {"PNG", "JPEG", "WEBP", "AVIF", "PPM"}
"""The formats that are decoded; others are refused."""


class Chunk(NamedTuple):
    """Hold a part of a file: its name, its content, and what makes its bytes of them."""

    name: bytes
    content: bytes
    framed: Callable[[bytes, bytes], bytes]


class Images(Kind):
    """Decode mutated image files: a reason that is the same twice, or the pixels that Pillow itself gives."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seeds = _seeds()
        self.parts = {data: list(_chunks(data)) for data in self.seeds}
        self.sound = {data: _given(partial(opened, data)) for data in self.seeds}

    def attempt(self, chance: Random) -> str:
        """Decode one mutant; see `Kind.attempt`."""
        seed = chance.choice(self.seeds)
        data = seed
        if chance.random() < 0.5 and self.parts[seed]:
            others = self.parts[chance.choice(self.seeds)]
            data = b"".join(c.framed(c.name, c.content) for c in rearranged(self.parts[seed], chance, _changer(chance), others))
        if data == seed or chance.random() < 0.3:
            data = mutated(data, chance)
        exif = chance.random() < 0.3
        first, second = (_given(lambda: opened(data, exif)) for _ in range(2))
        if first != second:
            raise Unsound(f"it gives {first!r:.200}, then {second!r:.200}")
        _check_framing(data, chance, exif, first)
        if isinstance(first, str):
            one_line(first)
            return FAULTS
        if not exif and (truth := _given(lambda: _independent(data))) != first:
            raise Unsound(f"decoded to {first[0]}, Pillow itself gives {truth if isinstance(truth, str) else truth[0]}")
        return SAME if first == self.sound[seed] else OTHER


Pixels = tuple[tuple[int, int], bytes]
"""The size of a picture, and its bytes as RGB."""


def _given(read: Callable[[], Image.Image]) -> Pixels | str:
    """Return what a reader gives: pixels, or the reason why not. Other exceptions than ValueError are faults."""
    try:
        picture = read()
    except ValueError as error:
        return str(error) or "ValueError"
    if picture.mode != "RGB":
        raise Unsound(f"a picture of mode {picture.mode}")
    return picture.size, picture.tobytes()


def _independent(data: bytes) -> Image.Image:
    """Return the picture as Pillow gives it, with the rule for what Pillow would clip: of 16 bits the high byte counts."""
    picture = Image.open(io.BytesIO(data), formats=sorted(EXPECTED & set(formats())))
    picture.load()
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.int64)
        return Image.fromarray(np.repeat((values // 256 % 256).astype(np.uint8)[..., None], 3, -1))
    if picture.mode == "P":
        table = np.frombuffer(picture.palette.tobytes(), np.uint8) if picture.palette else np.zeros(0, np.uint8)
        if picture.palette and picture.palette.mode == "RGB" and len(table) == 768:
            return Image.fromarray(table.reshape(-1, 3)[np.asarray(picture)])
    if picture.mode in ("RGBA", "RGBX"):
        return Image.fromarray(np.asarray(picture)[..., :3].copy())
    if picture.mode in ("L", "LA"):
        grey = np.asarray(picture).reshape(picture.height, picture.width, -1)[..., :1]
        return Image.fromarray(np.repeat(grey, 3, -1))
    picture.info.pop("transparency", None)
    return picture.convert("RGB")


def _check_framing(data: bytes, chance: Random, exif: bool, found: Pixels | str) -> None:
    """Make a square of the image, as a unit does: (3, 8, 8), or a reason."""
    framing = Framing(
        fit=chance.choice(("shorter", "squash")), interpolation=chance.choice(("bicubic", "bilinear")),
        rounding=chance.choice(("torchvision", "nearest")),
    )  # fmt: skip
    resize = chance.choice((None, 8, 9))
    try:
        pixels = decode(data, resize, 8, framing, exif)
    except ValueError as error:
        one_line(str(error))
        if not isinstance(found, str) and min(found[0]) >= 8 and resize is None:
            raise Unsound(f"an image of {found[0]} pixels has no square: {error}") from None
        return
    if isinstance(found, str) or pixels.shape != (3, 8, 8) or pixels.dtype != np.uint8:
        raise Unsound(f"a square {pixels.dtype} {pixels.shape} of {found!r:.200}")


@lru_cache(maxsize=1)
def _seeds() -> list[bytes]:
    """Return sound images of all formats and modes, and those of the page about images."""
    random = np.random.default_rng(1)
    colour = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(SIDES, Image.Resampling.BICUBIC)
    found = [picture.data for picture in PICTURES.values()]
    for kind, modes in MODES.items():
        if kind in EXPECTED - set(formats()):
            continue  # this Pillow was built without it
        written = [_encoded(_of_mode(colour, mode), kind, **o) for mode in modes for o in OPTIONS.get(kind, ({},))]
        found += written * (OFTEN if kind in EXPECTED else 1)
    return found


OFTEN = 4
"""Times that an image of a format that is decoded is drawn for each of another."""

OPTIONS: dict[str, tuple[dict[str, object], ...]] = {
    "JPEG": ({}, {"progressive": True}, {"subsampling": 0, "restart_marker_blocks": 1}),
    "WEBP": ({}, {"lossless": True}),
    "TIFF": ({}, {"compression": "tiff_lzw"}),
}
"""How a format is written besides."""


def _of_mode(colour: Image.Image, mode: str) -> Image.Image:
    """Return a picture in a mode."""
    if mode in ("I;16", "I", "F"):
        values = np.asarray(colour.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    if mode == "LAB":
        return Image.merge("LAB", colour.split())
    return colour.convert(mode)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the parts of a PNG, JPEG, WebP or AVIF; nothing for other files."""
    if data.startswith(b"\x89PNG"):
        yield from _png(data)
    elif data.startswith(b"\xff\xd8"):
        yield from _jpeg(data)
    elif data.startswith(b"RIFF"):
        yield Chunk(b"", data[:12], _bare)
        yield from _boxes(data[12:], 4, "<I", 8)
    elif data[4:8] == b"ftyp":
        yield from _iso(data)


def _bare(name: bytes, content: bytes) -> bytes:
    return content


def _png(data: bytes) -> Iterator[Chunk]:
    def framed(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    yield Chunk(b"", data[:8], _bare)
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield Chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size], framed)
        at += 12 + size


def _jpeg(data: bytes) -> Iterator[Chunk]:
    def framed(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">H", min(65535, len(content) + 2)) + content

    yield Chunk(b"", data[:2], _bare)
    at = 2
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        yield Chunk(data[at : at + 2], data[at + 4 : at + 2 + size], framed)
        at += 2 + size
        if data[at - size - 1] == 0xDA:  # the scan follows, up to the next marker but restarts
            end = at
            while end + 1 < len(data) and not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
            yield Chunk(b"scan", data[at:end], _bare)
            at = end


def _boxes(data: bytes, name: int, order: str, head: int) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF file, behind its head."""

    def framed(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack(order, len(content)) + content + bytes(len(content) % 2)

    at = 0
    while at + head <= len(data):
        (size,) = struct.unpack(order, data[at + name : at + head])
        yield Chunk(data[at : at + name], data[at + head : at + head + size], framed)
        at += head + size + size % 2


def _iso(data: bytes) -> Iterator[Chunk]:
    """Yield the boxes of an AVIF file."""

    def framed(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + name + content

    at = 0
    while at + 8 <= len(data):
        size = max(8, int.from_bytes(data[at : at + 4], "big"))
        yield Chunk(data[at + 4 : at + 8], data[at + 8 : at + size], framed)
        at += size


def _changer(chance: Random) -> Callable[[Chunk], Chunk]:
    """Return a change of one chunk: its bytes, a number in it, its name, or what is compressed in it."""

    def changed(chunk: Chunk) -> Chunk:
        content = bytearray(chunk.content)
        match chance.choice(("number", "number", "bytes", "name", "inside")):
            case "number" if content:
                size, at = chance.choice((1, 1, 2, 4)), chance.randrange(len(content))
                content[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "big")
            case "name" if chunk.name:
                return chunk._replace(name=mutated(chunk.name, chance)[: len(chunk.name)].ljust(len(chunk.name), b"x"))
            case "inside" if chunk.name == b"IDAT":
                return chunk._replace(content=_recompressed(chunk.content, chance))
            case _:
                content = bytearray(mutated(chunk.content, chance))
        return chunk._replace(content=bytes(content))

    return changed


def _recompressed(data: bytes, chance: Random) -> bytes:
    """Return a compressed stream whose content has changed."""
    try:
        return zlib.compress(mutated(zlib.decompress(data), chance))
    except zlib.error:
        return mutated(data, chance)
