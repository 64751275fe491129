"""Gather where one cell errs, as plain values for JSON: what the viewer and the report show."""

from typing import Any

import pandas as pd

from pipeline.analysis.accuracy import per_class
from pipeline.analysis.errors import attacks, classes, draw_parts, sureness
from pipeline.analysis.errors.classes import named
from pipeline.analysis.errors.health import gradients
from pipeline.analysis.errors.reading import attacked, checked
from pipeline.analysis.frames import scores
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.store import committed
from pipeline.store.layout import Store

EXAMPLES = 100
"""The most images of a kind that are named."""

_RATES = ("clean", "clean_low", "clean_high", "adv", "adv_low", "adv_high")


def errors(store: str, cell: str, rule: str = "single", top: int = 1) -> dict[str, Any]:
    """Return where a cell errs, as plain values; None for what is missing.

    rule, top   what counts as right, as in `analysis.scores`
    Keys: `confusion` as `Confusion.as_dict`; `parts`, `margins` and `gradients`, the lines of these frames; `classes`, a line
    for each class with `label`, `name`, `images`, and `clean` and `adv` with their intervals, the worst under attack first;
    `agreement`, the `cells` that attack the same model and defense, and the `share` of images on which two agree;
    `always_broken` and `never_broken`: `images`, `of` those that every such cell has reached and that are right clean, and
    `examples`, each a list of shard and key.
    Raises BadInput for an unknown rule, and a cell that the store lacks.
    """
    checked(rule, top)
    return of_job(opened(store), cell, rule, top)


def of_job(job: Job, cell: str, rule: str = "single", top: int = 1) -> dict[str, Any]:
    """Return the `errors` of a cell of a job."""
    rivals = _rivals(job, cell)
    names = job.campaign.data.names
    confused, sure, saved = classes.Tally(), sureness.Tally(rule, top), draw_parts.tally(job, cell, ["adv"], top)
    columns = [*classes.COLUMNS, *sureness.columns(rule), *(draw_parts.columns(["adv"]) if saved else ())]
    for rows in attacked(job.store, columns, [cell]):
        confused.add(rows)
        sure.add(rows)
        if saved:
            saved.add(rows)
    every = scores(job.store, rule, top, rivals)
    alike, lost = attacks.agreement(every), attacks.broken(every)
    return {
        "confusion": confused.confusion(names).as_dict(),
        "parts": _plain(draw_parts.lines(saved)) if saved else [],
        "margins": _plain(sure.frame()),
        "classes": _classes(every[every["cell"] == cell], names),
        "agreement": {"cells": list(alike), "share": [_values(row) for row in alike.to_numpy().tolist()]},
        "gradients": _plain(gradients(job.store, rivals)),
        "always_broken": _images(lost[lost["broken"] == lost["attacks"]], len(lost)),
        "never_broken": _images(lost[lost["broken"] == 0], len(lost)),
    }


def _rivals(job: Job, cell: str) -> list[str]:
    """Return the cells with rows that attack the model and defense of a cell, itself among them. Raises BadInput."""
    done = committed.files(Store(job.store))[1]
    if cell not in job.cells or cell not in done:
        raise BadInput(f"store {job.store} holds no rows of the cell {cell!r}: it has {', '.join(done) or 'none yet'}")
    mine = job.cells[cell]
    same = (mine.model_name, mine.defense_name)
    return [name for name in done if name in job.cells and same == (job.cells[name].model_name, job.cells[name].defense_name)]


def _classes(found: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """Return a line for each class that has attacked images, the worst under attack first."""
    labelled = found[found["label"].notna() & found["clean"].notna()]
    lines = per_class(labelled).to_dict("records") if len(labelled) else []
    return [
        {"label": int(line["label"]), "name": named(int(line["label"]), names), "images": int(line["images"])}
        | dict(zip(_RATES, _values([line[name] for name in _RATES]), strict=True))
        for line in lines
    ]


def _images(lines: pd.DataFrame, of: int) -> dict[str, Any]:
    """Return how many images these are, and the first of them."""
    keys = lines[[name for name in lines if name not in ("attacks", "broken")]].head(EXAMPLES)
    return {"images": len(lines), "of": of, "examples": keys.to_numpy().tolist()}


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a frame as plain values."""
    return [dict(zip(frame.columns, _values(line), strict=True)) for line in frame.to_numpy(dtype=object).tolist()]


def _values(line: list[Any]) -> list[Any]:
    """Return values with None for NaN."""
    return [None if isinstance(value, float) and value != value else value for value in line]
