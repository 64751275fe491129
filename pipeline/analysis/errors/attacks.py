"""Compare what several attacks do to the same images."""

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

    Cells that have attacked no image yet are left out.
    """
    image, scores = image_of(scores), scores[scores["adv"].notna()]
    cells = [str(cell) for cell in scores["cell"].drop_duplicates().sort_values()]
    plain = scores[[*image, "cell", value]].astype(dict.fromkeys([*image, "cell"], str))
    return plain.pivot(index=image, columns="cell", values=value).reindex(columns=cells)
