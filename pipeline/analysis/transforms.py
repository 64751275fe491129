"""Find which transforms matter: compare the evaluation draws that have a transform with those that do not."""

from collections.abc import Collection

import pandas as pd

from pipeline.analysis.errors.draw_parts import Tally, columns, tally
from pipeline.analysis.errors.reading import attacked
from pipeline.campaigns.job import opened

SIDES = ("clean", "adv")


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
    job, found = opened(store), dict[str, Tally | None]()
    for rows in attacked(store, ["cell", *columns(SIDES)], cells):
        cell = str(rows["cell"][0])
        if cell not in found:
            found[cell] = tally(job, cell, SIDES)
        if one := found[cell]:
            one.add(rows)
    return pd.DataFrame([line for cell, one in found.items() if one for line in _lines(cell, one)])


def _lines(cell: str, found: Tally) -> list[dict[str, object]]:
    """Return the lines of a cell."""
    out = []
    for place, name in enumerate(found.names):
        row: dict[str, object] = {"cell": cell, "transform": name, "draws": int(found.sides["adv"].draws[0, place])}
        for side, contrasts in found.sides.items():
            figures = ("with", "without", "difference", "low", "high")
            row |= {f"{side}_{what}": value for what, value in zip(figures, contrasts.line(place), strict=True)}
        out.append(row)
    return out
