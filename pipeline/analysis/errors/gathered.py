"""Gather where cells err, as plain values for JSON: what the viewer and the report show."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.analysis.errors import classes, draw_parts, health, sureness
from pipeline.analysis.errors.attacks import Outcomes
from pipeline.analysis.errors.reading import Array, attacked, checked, of_cells, with_lists
from pipeline.analysis.frames import IMAGE
from pipeline.analysis.images import named
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.scoring import rules
from pipeline.store import committed
from pipeline.store.layout import Store

EXAMPLES = 100
"""The most images of a kind that are named."""


def errors(store: str, cell: str, rule: str = "single", top: int = 1) -> dict[str, Any]:
    """Return where a cell errs, as plain values; None for what is missing.

    rule, top   what counts as right, as in `analysis.scores`
    Keys: `confusion` as `Confusion.as_dict`; `parts`, `margins` and `gradients`, the lines of these frames; `drawn`, the number
    of images that `parts` rests on; `classes`, a line for each class with `label`, `name`, `images`, and `clean` and `adv` with
    their intervals, the worst under attack first; `agreement`, the `cells` that attack the same model and defense, and the
    `share` of images on which two agree; `always_broken` and `never_broken`: `images`, `of` those that every such cell has
    reached and that are right clean, and `examples`, each a list of shard and key.
    Raises BadInput for an unknown rule, and a cell that the store lacks.
    """
    checked(rule, top)
    ((_, found),) = of_job(opened(store), [cell], rule, top)
    return found


def of_job(
    job: Job, cells: Sequence[str], rule: str = "single", top: int = 1, drawn: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each cell of a job with its `errors`. Neighbours that share a model and a defense share what they read.

    drawn   images of each cell, the first in the order of its units, whose draws are made again for `parts`; default: all
    """
    done = committed.files(Store(job.store))[1]
    for cell in cells:
        if cell not in job.cells or cell not in done:
            raise BadInput(f"store {job.store} holds no rows of the cell {cell!r}: it has {', '.join(done) or 'none yet'}")
    for _, own in groupby(cells, lambda cell: _defended(job, cell)):
        group = list(own)
        shared = _shared(job, [cell for cell in done if cell in job.cells and _defended(job, cell) == _defended(job, group[0])],
                         rule, top)  # fmt: skip
        for cell in group:
            yield cell, _parts(job, cell, top, drawn) | _own(job, cell, rule, top) | shared


def _defended(job: Job, cell: str) -> tuple[str, str]:
    return job.cells[cell].model_name, job.cells[cell].defense_name


def _own(job: Job, cell: str, rule: str, top: int) -> dict[str, Any]:
    """Return the keys that the rows of the cell alone decide."""
    names = job.campaign.data.names
    confused, sure, shares = classes.Tally(), sureness.Tally(rule, top), classes.Shares(rule, top)
    columns = ["cell", *classes.COLUMNS, *sureness.columns(rule), *rules.columns([rule])]
    for _, rows in of_cells(job.store, list(dict.fromkeys(columns)), [cell]):
        confused.add(with_lists(rows))
        sure.add(rows)
        shares.add(rows)
    return {"confusion": confused.confusion(names).as_dict(), "margins": _plain(sure.frame()), "classes": shares.lines(names)}


def _parts(job: Job, cell: str, top: int, drawn: int | None) -> dict[str, Any]:
    """Return the parts of the draws of at most `drawn` images, and how many these are."""
    images, saved = 0, draw_parts.tally(job, cell, ["adv"], top)
    if not saved or not saved.names:
        return {"parts": [], "drawn": 0}
    for rows in attacked(job.store, draw_parts.columns(["adv"]), [cell]):
        some = rows if drawn is None else rows.slice(0, drawn - images)
        saved.add(some)
        images += len(some)
        if images == drawn:
            break
    return {"parts": _plain(draw_parts.lines(saved)), "drawn": images}


def _shared(job: Job, cells: Sequence[str], rule: str, top: int) -> dict[str, Any]:
    """Return the keys that all attacks on one model behind one defense decide together."""
    outcomes, gradients, score = Outcomes(), health.Tally(), rules.RULES[rule].score
    columns = list(dict.fromkeys([*IMAGE, *health.READ, *rules.columns([rule])]))
    for cell, pieces in groupby(of_cells(job.store, columns, cells), lambda pair: pair[0]):
        names, shares = list[pa.Array](), list[Array]()
        for _, rows in pieces:
            gradients.add(cell, rows)
            names += named(rows).chunks
            shares.append(np.stack([score(rows, side, top) for side in ("clean", "adv")]))
        outcomes.add(cell, pa.chunked_array(names, pa.string()).combine_chunks(), *np.concatenate(shares, 1))
    outcomes = outcomes.in_order(sorted(cells, key=lambda cell: (job.cells[cell].attack_name, cell)))
    place, times = outcomes.broken()
    return {
        "agreement": {"cells": outcomes.cells, "share": [_values(row) for row in outcomes.agreement().tolist()]},
        "gradients": _plain(gradients.frame()),
        "always_broken": _images(outcomes, place[times == len(outcomes.cells)], len(place)),
        "never_broken": _images(outcomes, place[times == 0], len(place)),
    }


def _images(outcomes: Outcomes, place: Array, of: int) -> dict[str, Any]:
    """Return how many images these are, and the first of them by shard and key."""
    names = outcomes.named(place)
    first = names.sort_by([(name, "ascending") for name in IMAGE]).slice(0, EXAMPLES)
    return {"images": len(place), "of": of, "examples": [list(row.values()) for row in first.to_pylist()]}


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a frame as plain values."""
    return [dict(zip(frame.columns, _values(line), strict=True)) for line in frame.to_numpy(dtype=object).tolist()]


def _values(line: list[Any]) -> list[Any]:
    """Return values with None for NaN."""
    return [None if isinstance(value, float) and value != value else value for value in line]
