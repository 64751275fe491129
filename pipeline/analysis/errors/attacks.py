"""Compare what several attacks do to the same images."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.frames import image_of


def agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the share of images on which two cells end alike: right under attack in both, or in neither.

    scores  result of `analysis.scores` of one store, with the cells to compare: attacks on one model behind one defense
    The frame has a row and a column for each cell, in [0, 1]; NaN for two cells without a common image.
    """
    wide = _side_by_side(scores, "adv")
    values = wide.to_numpy(np.float64)
    reached, right = ~np.isnan(values), values > 0.5
    alike = sum(one.T @ one for one in ((right & reached).astype(np.float64), (~right & reached).astype(np.float64)))
    both = reached.T.astype(np.float64) @ reached.astype(np.float64)
    shares = np.divide(alike, both, out=np.full(both.shape, np.nan), where=both > 0)
    return pd.DataFrame(shares, index=list(wide), columns=list(wide))


def broken(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how many attacks break each image, an image a line, that which most break first.

    scores  result of `analysis.scores` of one store, with the cells to compare: attacks on one model behind one defense
    Only images that every cell has reached and that are right clean in each count. Columns: `shard`, `image_key`, `attacks`,
    the number of cells, and `broken`, how many of them make the image wrong.
    """
    clean, adv = (_side_by_side(scores, side) for side in ("clean", "adv"))
    kept = ((clean > 0.5) & adv.notna()).all(axis=1) if len(adv.columns) else pd.Series(False, index=adv.index)
    counts = (adv[kept] <= 0.5).sum(axis=1)
    frame = counts.rename("broken").reset_index()
    frame.insert(len(frame.columns) - 1, "attacks", len(adv.columns))
    return frame.sort_values("broken", ascending=False, kind="stable", ignore_index=True)


def _side_by_side(scores: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a value of scores, an image a line, a cell a column in the order of `scores`; NaN where there is none.

    Cells that have attacked no image yet are left out. Texts are held once, not for each of millions of lines.
    """
    image, scores = image_of(scores), scores[scores["adv"].notna()]
    cell = scores["cell"].astype("category")
    cells = [str(name) for name in cell.drop_duplicates().sort_values()]
    plain = pd.DataFrame({name: _words(scores[name]) for name in image})
    line = plain.groupby(image, observed=True, sort=True).ngroup().to_numpy()
    column = np.array([cells.index(name) if name in cells else -1 for name in map(str, cell.cat.categories)], int)[
        cell.cat.codes
    ]
    _, first = np.unique(line, return_index=True)
    if len(np.unique(line * max(1, len(cells)) + column)) < len(line):
        raise ValueError("an image stands twice in a cell: give the scores of one store")
    wide = np.full((len(first), len(cells)), np.nan)
    wide[line, column] = scores[value]
    return pd.DataFrame(wide, index=plain.iloc[first].astype(str).set_index(image).index, columns=cells)


def _words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts as categories in the order of texts, an empty one where there is none."""
    words = column.astype("category").cat.remove_unused_categories()
    if words.isna().any():
        words = words.astype(object).fillna("").astype("category")
    return words.cat.rename_categories(str).cat.reorder_categories(sorted(map(str, words.cat.categories)))
