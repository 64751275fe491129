"""Find which transforms matter: compare the evaluation draws that have a transform with those that do not."""

import warnings
from collections.abc import Collection

import numpy as np
import pandas as pd

from bart import draw_keys
from pipeline.analysis.frames import results
from pipeline.campaigns import definition_versions, image_keys
from pipeline.campaigns.job import opened
from pipeline.config.campaign import Cell
from pipeline.scoring.intervals import mean_difference
from pipeline.store.formats import StoreWarning


def by_transform(store: str, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return the accuracy of draws with and without each transform, a line a cell and transform.

    The transforms of a draw follow from its key (`pipeline.campaigns.image_keys`): they are drawn again, not stored.
    store  a store; cells whose defense is not random are left out, and with a StoreWarning those whose definitions have another
           version now: their draws cannot be made again
    cells  only these; default: all
    Columns: `cell`, `transform`, `draws` (with the transform, count), and for `clean` and `adv`: `_with` and `_without`
    (accuracies in [0, 1]) and their `_difference` with `_low` and `_high`, its 95 % interval over the images that have draws of
    both kinds.
    """
    job, out = opened(store), []
    outdated = definition_versions.outdated(job.campaign, store)
    columns = ["image_key", "shard", "cell", "label", "status", "clean_top5", "adv_top5"]
    for name, rows in results(store, columns, cells).groupby("cell", observed=True):
        cell, good = job.cells[str(name)], rows[rows["status"] == "ok"]
        if not cell.defense.random or good.empty:
            continue
        if changed := outdated.get(cell.name):
            warnings.warn(
                f"cell {name}: {changed}: its draws cannot be made again, so it is left out", StoreWarning, stacklevel=2
            )
            continue
        drawn = met(cell, list(good[["shard", "image_key"]].astype(str).itertuples(index=False, name=None)))
        right = {side: _right(good, side) for side in ("clean", "adv")}
        for place, transform in enumerate(cell.defense.build().choices):
            here = drawn[:, :, place]
            row = {"cell": name, "transform": transform, "draws": int(here.sum())}
            out.append(row | {key: v for side, hits in right.items() for key, v in _contrast(side, hits, here).items()})
    return pd.DataFrame(out)


def met(cell: Cell, images: list[tuple[str, str]]) -> np.ndarray:
    """Return whether each evaluation draw of each image has each part of the cell's defense: (images, draws, parts) bool."""
    keys = draw_keys.to_judge(image_keys.to_judge(cell, images), cell.judged_by)
    return cell.defense.build().met(keys, (cell.crop, cell.crop)).view(len(images), cell.judged_by, -1).numpy()


def _right(rows: pd.DataFrame, side: str) -> np.ndarray:
    """Return whether the first class of each draw is the label: (images, draws) bool. `side` is "clean" or "adv"."""
    first = np.array([[draw[0] for draw in draws] for draws in rows[f"{side}_top5"]])
    return first == rows["label"].to_numpy()[:, None]


def _contrast(side: str, right: np.ndarray, met: np.ndarray) -> dict[str, float]:
    """Return accuracy with and without a transform, and the mean over images of the difference within an image.

    side   "clean" or "adv", the beginning of each name
    right  whether a draw is right, (images, draws) bool
    met    whether a draw has the transform, (images, draws) bool
    """
    shares = []
    for kind in (met, ~met):
        with np.errstate(invalid="ignore"):
            shares.append((right & kind).sum(1) / kind.sum(1))
    out = {f"{side}_with": right[met].mean() if met.any() else np.nan}
    out[f"{side}_without"] = right[~met].mean() if not met.all() else np.nan
    differences = shares[0] - shares[1]
    differences = differences[~np.isnan(differences)]
    found = mean_difference(differences)
    parts = (found.value, found.low, found.high) if found else (np.nan,) * 3
    return out | {f"{side}_{name}": part for name, part in zip(("difference", "low", "high"), parts, strict=True)}
