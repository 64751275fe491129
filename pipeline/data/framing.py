"""Make pictures square: resize a picture and cut a square from its centre, pixel for pixel as the library of a model does."""

from PIL import Image

from pipeline.config.framing import Framing
from pipeline.data import pictures

AS_BEFORE = Framing()
"""What release 0.1 did for every model."""


def framed(picture: Image.Image, resize: int | None, crop: int, framing: Framing) -> Image.Image:
    """Return the square of `crop` x `crop` pixels at the centre of a picture, after resizing.

    resize  length of the shorter side after resizing, or of both (`framing.fit`); None: the picture keeps its size
    Raises ValueError if the picture is smaller than the crop, or too large after resizing.
    """
    if resize is not None:
        picture = _resized(picture, resize, framing)
    if min(picture.size) < crop:
        raise ValueError(f"{picture.width} x {picture.height} pixels, smaller than the crop of {crop}")
    left, top = (_corner(side - crop, framing) for side in picture.size)
    return picture.crop((left, top, left + crop, top + crop))


def _resized(picture: Image.Image, resize: int, framing: Framing) -> Image.Image:
    """Return a picture of the size that `resize` asks for. Raises ValueError if the longer side would be too long."""
    size = (resize, resize) if framing.fit == "squash" else _sides(picture.size, resize, framing)
    if size[0] * size[1] > pictures.MAX_PIXELS:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels after resizing, more than {pictures.MAX_PIXELS}: too long for its width"
        )
    return picture.resize(size, Image.Resampling[framing.interpolation.upper()])


def _sides(size: tuple[int, int], shorter: int, framing: Framing) -> tuple[int, int]:
    """Return width and height in proportion, the shorter of them `shorter` pixels long."""
    width, height = size
    if framing.rounding == "torchvision":
        longer = int(shorter * max(size) / min(size))
        return (shorter, longer) if width <= height else (longer, shorter)
    scale = shorter / min(size)
    return max(shorter, round(width * scale)), max(shorter, round(height * scale))


def _corner(margins: int, framing: Framing) -> int:
    """Return where the crop begins, given what it leaves of a side."""
    return round(margins / 2) if framing.rounding == "torchvision" else margins // 2
