"""Read the pictures of a store: an image clean, attacked and their difference, and what the draws of the defense made of it.

The one way to them for `barrage show`, the report, the viewer and notebooks. Other rooms use the names in `__all__`.
"""

from pipeline.reports.pictures.draws import in_8_bits, made_of, seen, sheet, stages
from pipeline.reports.pictures.example import Example, Picture, png
from pipeline.reports.pictures.images import OF_A_PICTURE, Images, Row, readable
from pipeline.reports.pictures.kept import Kept

__all__ = [
    "OF_A_PICTURE", "Example", "Images", "Kept", "Picture", "Row", "in_8_bits", "made_of", "png", "readable", "seen", "sheet",
    "stages",
]  # fmt: skip
