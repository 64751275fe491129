"""Hold one image of a cell as pictures: clean, attacked, and the difference of the two."""

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

Picture = np.ndarray[Any, Any]
"""An image, (3, h, w) uint8."""


@dataclass(frozen=True)
class Example:
    """Hold one image of a cell; `adversarial` is None where the campaign keeps no examples."""

    key: str
    clean: Picture
    adversarial: Picture | None

    @cached_property
    def magnified(self) -> float:
        """Return how many grey levels of `difference` stand for one grey level of change."""
        assert self.adversarial is not None, "no example, no difference"
        return 127 / max(1, int(np.abs(self.adversarial.astype(int) - self.clean).max()))

    @cached_property
    def difference(self) -> Picture:
        """Return the change as a picture: no change is mid-grey, the largest change of a channel is black or white."""
        assert self.adversarial is not None, "no example, no difference"
        change = (self.adversarial.astype(float) - self.clean) * self.magnified
        return (128 + change).round().clip(0, 255).astype(np.uint8)


def png(picture: Picture) -> bytes:
    """Return a picture as the bytes of a PNG file, which holds every value as it is."""
    buffer = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, "PNG", compress_level=1)  # a server's time counts, not its bytes
    return buffer.getvalue()
