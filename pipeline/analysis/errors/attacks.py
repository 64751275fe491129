"""Compare what several attacks do to the same images."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.analysis.errors.reading import Array
from pipeline.analysis.frames import IMAGE, image_of
from pipeline.analysis.images import named, places

_REACHED, _RIGHT, _CLEAN = 1, 2, 4
"""Bits of an image in a cell: it was attacked, it is right under attack, it is right clean."""

_BLOCK = 1 << 16
"""Images that are compared at a time."""


class Outcomes:
    """Hold how the images of several cells ended, in one byte an image and cell, whatever the order of their rows."""

    def __init__(self) -> None:
        self.names: pa.Array = pa.array([], pa.string())
        self._ends = dict[str, Array]()

    def add(self, cell: str, names: pa.Array, clean: Array, adv: Array) -> None:
        """Add the attacked images of a cell: their names, as of `images.named`, and shares in [0, 1], all (n,), NaN where none.

        A cell without a share is left out. Raises ValueError if an image stands twice.
        """
        reached = ~np.isnan(adv)
        if not reached.all():
            names, clean, adv = names.filter(pa.array(reached)), clean[reached], adv[reached]
        if not len(names):
            return
        place = self._places(names)
        ends = np.zeros(len(self.names), np.uint8)
        ends[place] = _REACHED + _RIGHT * (adv > 0.5) + _CLEAN * (clean > 0.5)
        if np.count_nonzero(ends) < len(place):
            raise ValueError("an image stands twice in a cell: give the scores of one store")
        self._ends[cell] = ends

    def _places(self, names: pa.Array) -> Array:
        """Return the place of each name among all; new ones come after the others."""
        if names.equals(self.names):  # as nearly always: cells attack the same images
            return np.arange(len(names))
        new = names.filter(pc.invert(pc.is_in(names, value_set=self.names)))
        self.names = pa.concat_arrays([self.names, new]) if len(new) else self.names
        return places(names, self.names)

    @property
    def cells(self) -> list[str]:
        """Return the cells with attacked images, in the order in which they came."""
        return list(self._ends)

    def in_order(self, cells: Iterable[str]) -> "Outcomes":
        """Return the same with the cells in another order."""
        found = Outcomes()
        found.names, found._ends = self.names, {cell: self._ends[cell] for cell in cells if cell in self._ends}
        return found

    def _wide(self) -> Array:
        """Return the bits of all, (cells, images) uint8; 0 where a cell has not reached an image."""
        wide = np.zeros((len(self._ends), len(self.names)), np.uint8)
        for row, ends in zip(wide, self._ends.values(), strict=True):
            row[: len(ends)] = ends
        return wide

    def agreement(self) -> Array:
        """Return the share of images on which two cells end alike, (cells, cells); NaN without a common image."""
        wide = self._wide()
        alike, both = np.zeros((2, len(wide), len(wide)))
        for start in range(0, wide.shape[1], _BLOCK):
            block = wide[:, start : start + _BLOCK]
            reached, right = block & _REACHED > 0, block & _RIGHT > 0
            each = [part.astype(np.float32) for part in (right, reached & ~right, reached)]  # whole numbers below 2^24
            alike += each[0] @ each[0].T + each[1] @ each[1].T
            both += each[2] @ each[2].T
        return np.divide(alike, both, out=np.full(both.shape, np.nan), where=both > 0)

    def broken(self) -> tuple[Array, Array]:
        """Return the images that every cell has reached and that are right clean in each, as places in `names`, and how many
        cells make each of them wrong, both (n,).
        """
        wide = self._wide()
        kept = np.flatnonzero((wide & (_REACHED | _CLEAN) == _REACHED | _CLEAN).all(0)) if len(wide) else np.empty(0, np.int64)
        return kept, (wide[:, kept] & _RIGHT == 0).sum(0)

    def named(self, place: Array, **columns: Array) -> pa.Table:
        """Return the shard and the key of images, given as places in `names`, with more columns (n,)."""
        parts = pc.split_pattern(self.names.take(pa.array(place)), "/", max_splits=1)
        return pa.table({name: pc.list_element(parts, i) for i, name in enumerate(IMAGE)} | columns)


def agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the share of images on which two cells end alike: right under attack in both, or in neither.

    scores  result of `analysis.scores` of one store, with the cells to compare: attacks on one model behind one defense
    The frame has a row and a column for each cell, in [0, 1]; NaN for two cells without a common image.
    """
    found = _of_scores(scores)
    return pd.DataFrame(found.agreement(), index=found.cells, columns=found.cells)


def broken(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how many attacks break each image, an image a line, that which most break first.

    scores  result of `analysis.scores` of one store, with the cells to compare: attacks on one model behind one defense
    Only images that every cell has reached and that are right clean in each count. Columns: `shard`, `image_key`, `attacks`,
    the number of cells, and `broken`, how many of them make the image wrong.
    """
    found = _of_scores(scores)
    place, times = found.broken()
    lines = found.named(place, attacks=np.full(len(place), len(found.cells)), broken=times)
    order = [("broken", "descending"), *((name, "ascending") for name in IMAGE)]
    return lines.sort_by(order).select([*image_of(scores), "attacks", "broken"]).to_pandas()


def _of_scores(scores: pd.DataFrame) -> Outcomes:
    """Return the outcomes of the cells of a frame of scores, in its order of cells."""
    found, cell = Outcomes(), scores["cell"].astype("category")
    for name in cell.cat.categories:
        lines: Any = scores[cell == name]
        texts = {of: pa.array(lines[of].astype(object) if of in lines else [""] * len(lines), pa.string()) for of in IMAGE}
        names = named(pa.table(texts)).combine_chunks()
        found.add(str(name), names, lines["clean"].to_numpy(np.float64), lines["adv"].to_numpy(np.float64))
    return found
