"""Open examples of any kind: arrays in a file, a folder of images, WebDataset shards. Nothing in them is executed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from pipeline.data.examples import arrays, pictures
from pipeline.errors import BadInput


class Source(Protocol):
    """Describe examples.

    keys    of the images, in order; None if they have none
    labels  of the images, in order; None if they have none
    side    height and width of all; None if they show only when they are read
    sha256  of all of it
    """

    @property
    def keys(self) -> Sequence[str] | None: ...

    @property
    def labels(self) -> Sequence[int] | None: ...

    @property
    def side(self) -> tuple[int, int] | None: ...

    @property
    def sha256(self) -> str: ...

    @property
    def count(self) -> int: ...

    def read(self, places: Sequence[int]) -> list[Tensor | str]:
        """Return examples (3, h, w) float32 in [0, 1], or why one cannot be used."""
        ...


def opened(path: str) -> Source:
    """Return the examples at a path. Raises BadInput if there are none, or they cannot be read; StorageError."""
    place = Path(path)
    if place.is_dir():
        return pictures.of_folder(place)
    if place.suffix in arrays.READERS:
        if not place.is_file():
            raise BadInput(f"examples {path} do not exist: give the path of a file, a folder, or a pattern of tars")
        return arrays.of_file(place)
    if place.is_file() and not path.endswith((".tar", ".tar.gz", ".tgz")):
        raise BadInput(
            f"examples {path}: expected a .npz, .npy, .pt or .pth file, a folder of images, or WebDataset tars by a pattern"
        )
    return pictures.of_shards(path)
