"""Find images that stand twice in a cell. Keys that an earlier cell has too are not decoded again.

Cells mostly hold the same images, in files that are cut alike, and decoding keys takes longer than any other column of a table.
So the footer of a file has the hash of its images. A cell of whose files an earlier one has every hash holds no image that the
earlier one does not, and where that had none twice, neither has this.
"""

from collections import deque
from collections.abc import Callable, Iterable

import pyarrow as pa

from pipeline.store.doubles.keys import IMAGE, refuse_doubles

REMEMBERED = 16
"""Cells whose hashes are kept: 100 bytes a file."""


class Images:
    """Find images that stand twice, in one cell after another."""

    def __init__(self) -> None:
        self._sound = deque[frozenset[str]](maxlen=REMEMBERED)  # of each cell without doubles, the hashes of its files
        self._begin()

    def _begin(self) -> None:
        self._hashes, self._rows, self._left = list[str | None](), list[pa.RecordBatch](), False

    def new(self, images: str | None) -> bool:
        """Return whether the images of a file must be read and added: no earlier cell is known to have those of this hash.

        None: the file does not say which it holds.
        """
        known = images is not None and any(images in cell for cell in self._sound)
        self._hashes.append(images)
        self._left = self._left or known
        return not known

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the columns IMAGE of rows of the present cell."""
        self._rows.append(rows.select(IMAGE))

    def end(self, where: str, again: Callable[[], Iterable[pa.RecordBatch]]) -> None:
        """End a cell. Raises BadInput, which says `where`, if it has an image twice.

        again  read the columns IMAGE of all its rows: for a cell with files in common with an earlier one, but not part of it
        """
        hashes, images, left = self._hashes, self._rows, self._left
        self._begin()
        cell = frozenset(known for known in hashes if known is not None)
        if len(cell) < len(hashes) or not any(cell <= earlier for earlier in self._sound):
            refuse_doubles(list(again()) if left else images, where)
            self._sound.append(cell)
