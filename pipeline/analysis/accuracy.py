"""Compute the accuracy of groups of images, with intervals over images, and the views that are made of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.frames import SETTINGS, image_of
from pipeline.errors import BadInput
from pipeline.scoring.intervals import Rate, Sample, rate
from pipeline.scoring.worst_case import judged_apart

VALUES = ("clean", "adv", "target_hit")
"""The columns of `scores` that are shares of an image, in [0, 1]."""

CELL = ("store", "cell")
"""The columns that name a cell."""

WORDS = {"k": "k = {}", "eps": "eps {:.3g}", "steps": "{} steps", "eot_draws": "{} draws"}
"""How a setting is written in the name of a series, where its value alone says too little."""


def accuracy(scores: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Return one line per group: its accuracy, its cost, and how many images failed.

    scores   result of `analysis.scores`
    by       columns that make the groups; in a group of several cells an image counts once, by its mean over the cells
    Columns: `by`; `images`, `failed` (counts); `clean`, `adv`, `target_hit`, each with `_low` and `_high` (in [0, 1]; NaN where
    there are no values); `draw_gradients` (mean of the attacked images); `hours` (of a device, sum over images and cells).
    """
    by, cells = list(by), [name for name in CELL if name in scores]
    grouped = scores.groupby(by, observed=True, sort=True, dropna=False)
    cost = grouped.agg(failed=("clean", "size"), grad_evals=("grad_evals", "sum"), seconds=("seconds", "sum"))
    attacked = grouped["clean"].count()
    cost["failed"] -= attacked
    if not set(cells) <= set(by) and _pooled(scores, by, cells):
        scores = scores.groupby([*by, *image_of(scores)], observed=True, dropna=False)[list(VALUES)].mean().reset_index()
    grouped = scores.groupby(by, observed=True, dropna=False)
    out = pd.DataFrame({"images": grouped["clean"].count(), "failed": cost["failed"]})
    group = grouped.ngroup().to_numpy()
    for name in VALUES:
        found = rates(scores[name].to_numpy(), group)
        for column, part in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            out[column] = [getattr(rate, part) if rate else np.nan for rate in found]
    out["draw_gradients"] = cost["grad_evals"] / attacked.where(attacked > 0)
    out["hours"] = cost["seconds"] / 3600
    return out.reset_index()


def rates(shares: np.ndarray, group: np.ndarray) -> list[Rate | None]:
    """Return the rate of each group; `shares` (n,) with NaN where there is none, `group` (n,) its number from 0."""
    ends = np.cumsum(np.bincount(group))[:-1]
    parts = np.split(shares[np.argsort(group, kind="stable")], ends)
    return [rate(part[~np.isnan(part)]) for part in parts]


def _pooled(scores: pd.DataFrame, by: list[str], cells: list[str]) -> bool:
    """Return whether a group holds more than one cell."""
    pairs = scores[[*by, *cells]].drop_duplicates()
    return bool(pairs.duplicated(by).any())


def curve(scores: pd.DataFrame, x: str, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Return accuracy against a setting: one line per series and value of `x`, sorted by both.

    x        `k`, `eps`, `steps`, `eot_draws`, `evaluation_draws`, or `draw_gradients` (the cost of one image)
    by       columns that make a series; default: those of `series`
    Columns as in `accuracy`. Raises BadInput for another `x`.
    """
    if x == "draw_gradients":
        return accuracy(scores, [*CELL, *SETTINGS[1:]]).sort_values(x).reset_index(drop=True)
    if x not in SETTINGS:
        raise BadInput(f"x {x!r}: expected a setting, {', '.join(SETTINGS)}, or draw_gradients")
    names = list(by) if by is not None else series(scores, x)
    return accuracy(scores, [*names, x]).sort_values([*names, x]).reset_index(drop=True)


def series(scores: pd.DataFrame, x: str) -> list[str]:
    """Return the columns that make series when accuracy is drawn against `x`: those that tell all cells apart.

    A setting is added, in a fixed order, where it tells cells apart that the settings before it do not. But for `k`, which is
    one of a defense's own, a series keeps to one defense.
    scores   frame with the columns `store` and those of SETTINGS
    """
    cells = scores[[*CELL, *SETTINGS[1:]]].drop_duplicates()
    settings = ("norm", "eps", "policy", "mode", "steps", "eot_draws")
    order = ("store", "attack", *settings, "defense") if x == "k" else ("store", "defense", *settings, "attack")
    names = ["model"]
    for name in (name for name in order if name != x):
        without, with_it = (cells.groupby([*columns, x], observed=True).ngroups for columns in (names, [*names, name]))
        if with_it > without or (name == "defense" and x != "k"):
            names.append(name)
    return names


def per_class(scores: pd.DataFrame, by: Sequence[str] = CELL, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the `accuracy` of each class (`label`) in each group, the class with the lowest `adv` first.

    names  the names of the classes by label, such as `analysis.class_names(store)`: they become the column `class`
    """
    found = accuracy(scores, [*by, "label"]).sort_values([*by, "adv", "label"]).reset_index(drop=True)
    if names is not None:
        found.insert(len(by) + 1, "class", [_named(label, names) for label in found["label"]])
    return found


def _named(label: Any, names: Sequence[str]) -> str | None:
    """Return the name of a class; None for a label that has none, or is missing."""
    return names[label] if not pd.isna(label) and 0 <= label < len(names) else None


def per_image(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how right each attacked image is: an image a line, a cell a column, the image with the lowest mean first.

    Columns: `shard`, `image_key`, `label`, each cell (in [0, 1]; NaN where the image failed or was not reached), and their
    `mean`.
    """
    several = "store" in scores and scores["store"].nunique() > 1
    frame = scores.assign(cell=scores["store"].astype(str) + ":" + scores["cell"].astype(str)) if several else scores
    wide = frame.pivot_table(index=[*image_of(scores), "label"], columns="cell", values="adv", observed=True, dropna=False)
    wide.columns = [str(name) for name in wide.columns]
    wide = wide.dropna(how="all")
    return wide.assign(mean=wide.mean(axis=1)).sort_values("mean", kind="stable").reset_index()


def worst_case(scores: pd.DataFrame, by: Sequence[str] = ("model", "defense", "norm", "eps")) -> pd.DataFrame:
    """Return the accuracy under the strongest attack on each image: the mean over images of the least `adv` over attacks.

    Only images that every attack of the group has reached count. The least of noisy shares is too low: `adv` bounds the truth
    from below. `adv_apart` bounds it from above: another draw judges than those that chose the image's attack.
    Columns: `by`, `attacks` (count), `images` (count), and in [0, 1] `adv`, `adv_apart`, and a 95 % interval of the truth:
    `adv_low`, the lower end for `adv`, and `adv_high`, the upper end for `adv_apart`.
    """
    by, out = list(by), []
    for values, group in scores[scores["adv"].notna()].groupby(by, observed=True):
        shares, draws = _side_by_side(group)
        least, apart = rate(shares.min(1)), rate(judged_apart(shares, draws))
        if least and apart:
            row = dict(zip(by, values, strict=True)) | {"attacks": group["attack"].nunique(), "images": least.images}
            out.append(row | {"adv": least.value, "adv_apart": apart.value, "adv_low": least.low, "adv_high": apart.high})
    return pd.DataFrame(out)


def _side_by_side(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return `adv` and the number of draws of the images that every attack has reached, both (images, cells).

    If an attack has several cells, an image need not be in all of them: where it is not, its share is 1, of one draw.
    """
    image, attack = [scores[name].astype(str) for name in image_of(scores)], scores["attack"].astype(str)
    again = scores.groupby([*image, attack]).cumcount().rename("again")
    wide = scores[["adv", "evaluation_draws"]].set_index([*image, attack, again]).unstack(["attack", "again"])
    reached = wide["adv"].xs(0, axis=1, level="again").notna().all(axis=1)
    shares, draws = (wide.loc[reached, name].fillna(1).to_numpy(np.float64) for name in ("adv", "evaluation_draws"))
    return shares, draws


def persistence(scores: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Return the accuracy against an attacker who may ask m times: the chance that all of m fresh draws are right.

    Of n draws of which c are right, m draws are all right in C(c, m) of C(n, m) choices: exact, and unbiased.
    scores   result of `analysis.scores` for the rule `single`
    Columns: `by`, `draws` (m, from 1 to the fewest draws of an image), `images`, `clean` and `adv` with their intervals.
    """
    good = scores[scores["clean"].notna()]
    kinds = good.groupby([*by, "evaluation_draws", "clean", "adv"], observed=True)
    return persistence_of_counts(kinds.size().rename("images").reset_index(), by)


def persistence_of_counts(counts: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Return the same from a frame that says how many images are alike: a thousand lines stand for millions of rows.

    counts   columns `by`, `evaluation_draws`, `clean` and `adv` (shares in [0, 1]), `images` (count, at least 1)
    """
    out, by = [], list(by)
    for values, group in counts.groupby(by, observed=True):
        n, images = group["evaluation_draws"].to_numpy(), group["images"].to_numpy(np.float64)
        sides = {side: Sample(group[side].to_numpy(), images) for side in ("clean", "adv")}
        for m in range(1, int(n.min()) + 1):
            row = dict(zip(by, values, strict=True)) | {"draws": m, "images": int(images.sum())}
            out.append(row | all_right(sides, n, m))
    return pd.DataFrame(out)


def all_right(sides: Mapping[str, Sample], draws: np.ndarray | int, m: int) -> dict[str, float]:
    """Return for each side, such as `clean`, the rate of images of which all of m fresh draws are right, `clean_low` and
    `clean_high`.

    sides   shares of right draws (n,), in any order, and how many images have each, at least 1 together
    draws   the draws of each, (n,), or of all; at least m
    """
    steps, line = np.arange(m), dict[str, float]()
    for side, sample in sides.items():
        right = np.rint(sample.shares * draws)
        chances = (np.maximum(right[:, None] - steps, 0) / (np.atleast_1d(draws)[:, None] - steps)).prod(1)
        found = Sample.of(chances, sample.counts).rate
        assert found is not None, "a sample has images"
        line |= {side: found.value, f"{side}_low": found.low, f"{side}_high": found.high}
    return line
