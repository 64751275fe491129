"""Name the ways in which a picture becomes a square: those of Pillow, torchvision and timm."""

from typing import Literal, NamedTuple

Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""Filters of Pillow. When it makes a picture smaller, it widens all but `nearest`, so none needs antialiasing besides."""

Fit = Literal["shorter", "squash"]
"""What `resize` is: the length of the shorter side, the longer one in proportion; or that of both sides."""

Rounding = Literal["nearest", "torchvision"]
"""How the longer side and the corner of the crop become whole pixels: the side to the nearest and the corner down; or, as in
torchvision and timm, the side down and the corner to the nearest, ties to the even one."""


class Framing(NamedTuple):
    """Hold how a picture is resized and cropped, besides the lengths. The defaults are what release 0.1 did."""

    interpolation: Interpolation = "bicubic"
    fit: Fit = "shorter"
    rounding: Rounding = "nearest"
