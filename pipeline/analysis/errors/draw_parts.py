"""Find which parts of a defense's draws save images: compare draws with a part and draws without it, of the same image."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from bart import draw_keys
from pipeline.analysis.errors.reading import Array, attacked, right_draws
from pipeline.campaigns import definition_versions, image_keys
from pipeline.campaigns.job import Job, opened
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput, shortened
from pipeline.scoring.intervals import Sample
from pipeline.store.formats import StoreWarning

NAMES = ("part", "draws", "right_with", "right_without", "difference", "low", "high")

BLOCK = 1 << 11
"""Images whose draws are made again at a time: 20 draws of 25 parts are a million numbers, ten megabytes."""


class Contrasts:
    """Sum up, batch by batch, how right draws with each part are, and other draws of the same images without it.

    The difference is taken within each image and every image weighs the same: neither that some images are easier, nor that a
    part is drawn rarely, moves it.
    """

    def __init__(self, parts: int) -> None:
        self.draws, self.hits = np.zeros((2, parts)), np.zeros((2, parts))  # with the part, without it
        self.within = [Sample.of([])] * parts

    def add(self, right: Array, met: Array) -> None:
        """Add images: `right` (n, draws) bool, whether a draw is right; `met` (n, draws, parts) bool, whether it has a part."""
        hits = np.matmul(right[:, None].astype(np.float32), met.astype(np.float32))[:, 0].astype(np.float64)
        draws = met.sum(1).astype(np.float64)
        hits, draws = np.stack([hits, right.sum(1)[:, None] - hits]), np.stack([draws, right.shape[1] - draws])
        self.hits, self.draws = self.hits + hits.sum(1), self.draws + draws.sum(1)
        both: Array = np.all(draws > 0, axis=0)
        shares = hits / np.maximum(draws, 1)
        differences = (shares[0] - shares[1] + 1) / 2
        self.within = [one + Sample.of(differences[both[:, i], i]) for i, one in enumerate(self.within)]

    def line(self, part: int) -> tuple[float, float, float, float, float]:
        """Return of a part the accuracy of draws with it and without it, and the mean difference within an image with both
        ends of its 95 % interval over images; NaN where there are none.
        """
        shares = np.divide(self.hits[:, part], self.draws[:, part], out=np.full(2, np.nan), where=self.draws[:, part] > 0)
        found = self.within[part].difference
        ends = (found.value, found.low, found.high) if found else (np.nan,) * 3
        return float(shares[0]), float(shares[1]), *ends


class Tally:
    """Compare the draws of a cell by their parts, batch by batch. Raises BadInput if its draws cannot be made again.

    sides   "clean", "adv", or both: the images whose draws are compared
    top     1 or 5: a draw is right if the label is among its first `top` classes
    """

    def __init__(self, job: Job, cell: str, sides: Sequence[str] = ("adv",), top: int = 1) -> None:
        self.cell, self.top = job.cells[cell], top
        self.names = self.cell.defense.build().choices if self.cell.defense.random else ()
        self.sides = {side: Contrasts(len(self.names)) for side in sides}
        if changed := definition_versions.outdated(job.campaign, job.store).get(cell) if self.names else None:
            raise BadInput(f"cell {cell}: {changed}: its draws cannot be made again")

    def add(self, rows: pa.Table) -> None:
        """Add attacked rows with the columns of `columns`."""
        for start in range(0, len(rows) if self.names else 0, BLOCK):
            some = rows.slice(start, BLOCK)
            there = met(self.cell, some)
            for side, contrasts in self.sides.items():
                contrasts.add(right_draws(some, side, self.top), there)


def columns(sides: Sequence[str]) -> list[str]:
    """Return the columns that are read."""
    return ["shard", "image_key", "label", *(f"{side}_top5" for side in sides)]


def met(cell: Cell, rows: pa.Table) -> Array:
    """Return whether each evaluation draw of each row's image has each part of the cell's defense, (n, draws, parts) bool.

    Raises BadInput for an image whose key can have no draws, which no run writes.
    """
    images = list(zip(rows["shard"].to_pylist(), rows["image_key"].to_pylist(), strict=True))
    try:
        keys = draw_keys.to_judge(image_keys.to_judge(cell, images), cell.judged_by)
    except ValueError as error:
        raise BadInput(f"cell {cell.name}: draws cannot be made again: {shortened(str(error), 500)}") from None
    found: Array = cell.defense.build().met(keys, (cell.crop, cell.crop)).view(len(images), cell.judged_by, -1).numpy()
    return found


def parts(store: str, cell: str, top: int = 1) -> pd.DataFrame:
    """Return which parts of a cell's draws saved images under attack: transforms, or what else its defense chooses from.

    The parts of a draw follow from its key, so they are drawn again, not stored. Draws are random: the difference is what it
    does to have this part in the draw, in place of what else would stand there.
    top     1 or 5: a draw is right if the label is among its first `top` classes
    Columns: `part`; `draws` that have it; `right_with` and `right_without`, shares of right draws in [0, 1]; `difference`, the
    mean over images of the difference within an image, with `low` and `high`, its 95 % interval over the images with draws of
    both kinds; the part that saves most first. No lines for a defense without a choice. Raises BadInput for a cell that the
    store lacks or whose draws cannot be made again.
    """
    job = opened(store)
    if cell not in job.cells:
        raise BadInput(f"cell {cell!r}: expected one of {', '.join(job.cells)}")
    found = Tally(job, cell, top=top)
    for rows in attacked(store, columns(["adv"]), [cell]):
        found.add(rows)
    return lines(found)


def lines(found: Tally) -> pd.DataFrame:
    """Return the lines of `parts` from a tally of the side "adv"."""
    contrasts = found.sides["adv"]
    each = [(name, int(contrasts.draws[0, i]), *contrasts.line(i)) for i, name in enumerate(found.names)]
    frame = pd.DataFrame(each, columns=list(NAMES))
    return frame.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def tally(job: Job, cell: str, sides: Sequence[str], top: int = 1) -> Tally | None:
    """Return a tally of a cell's parts; None, with a StoreWarning, if its draws cannot be made again."""
    try:
        return Tally(job, cell, sides, top)
    except BadInput as error:
        warnings.warn(f"{error}, so it is left out", StoreWarning, stacklevel=3)
        return None
