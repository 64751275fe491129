"""What the page shows, gathered from a store: rows, campaign, checks and examples; parts that are not there are left out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline import analysis, provenance
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.reports.examples import Example, examples, unit
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.status.summary import Reader, Status
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE
from pipeline.store.rows import batches

GALLERY = 6
"""Images of the gallery, each in at most CELLS cells: some hundred kilobytes."""
CELLS = 6
PERSISTENT = 2_000_000
"""Rows up to which the curves of a persistent attacker are drawn: they need every row in memory."""

XS = {
    "k": "transforms in a barrage (k)",
    "eps": "radius of the ball (eps, of images in [0, 1])",
    "steps": "steps of the attack",
    "eot_draws": "draws per gradient",
    "draw_gradients": "draw-gradients per image",
}
"""What accuracy can be drawn against."""


@dataclass(frozen=True)
class Shown:
    """An example with its row: how many of the draws were right before and after, and the classes said most often."""

    example: Example
    row: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Everything on the page. `gallery` holds examples by cell, `missing` why there are none; `points` is what the charts
    draw, `campaign_file` the store's campaign.yaml."""

    status: Status
    job: Job
    lines: list[summaries.Line]
    notes: list[str]
    points: dict[str, Any]
    machines: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    gallery: dict[str, list[Shown]]
    missing: str
    checks: list[dict[str, Any]]
    campaign_file: str
    version: str


def gather(store: str) -> Content:
    """Reads a store. Raises BadInput if there is none, it holds no rows, or another version wrote it."""
    job, status = opened(store), Reader(store).look()
    rules = RULES.working()
    lines = summaries.lines(batches(store, summaries.columns(rules)), rules)
    try:
        gallery, missing = dict(_gallery(job, lines)), ""
    except BadInput as error:
        gallery, missing = {}, str(error)
    if not gallery and not missing:
        kept = job.campaign.save_adversarial
        missing = "the store's folder adversarial/ is not here" if kept else "the campaign keeps none (save_adversarial)"
    return Content(
        status=status,
        job=job,
        lines=lines,
        notes=summaries.notes(lines),
        points={
            "curves": _curves(job, lines),
            "persistent": _persistent(store, lines),
            "rules": {name: rule.about for name, rule in rules.items()},
        },
        machines=[row | {"versions": json.loads(row["versions"])} for row in analysis.machines(store).to_dict("records")],
        failures=analysis.failures(store).to_dict("records"),
        gallery=gallery,
        missing=missing,
        checks=analysis.checks(store).to_dict("records"),
        campaign_file=(Store(store).read(FILE) or b"").decode(),
        version=provenance.commit(),
    )


def _curves(job: Job, lines: list[summaries.Line]) -> dict[str, Any]:
    """The points of the chart, a cell and rule each, and what series they are of against each x that has any."""
    cells = analysis.settings(job).set_index("cell", drop=False)
    per_image = {line.cell: line.draw_gradients / max(1, line.images) for line in lines}
    cells["draw_gradients"] = cells.index.map(lambda cell: per_image.get(cell, float("nan")))
    cells = cells[cells["draw_gradients"].notna()]
    series = {x: _labels(cells, x) for x in XS}
    found = {
        x: label for x, text in XS.items() if (label := {"label": text, "series": series[x]}) and _has_curve(cells, x, series)
    }
    values = cells[list(XS)].to_dict("index")
    return {
        "xs": found or {"k": {"label": XS["k"], "series": series["k"]}},
        "points": [summaries.as_dict(line) | {"x": values[line.cell]} for line in lines],
    }


def _labels(cells: pd.DataFrame, x: str) -> dict[str, str]:
    """What series each cell is of, in words; settings that all share are left out."""
    names = analysis.series(cells, x) if x != "draw_gradients" else ["model", "defense"]
    kept = [name for name in names if cells[name].nunique() > 1]
    return {
        str(row["cell"]): ", ".join(analysis.WORDS.get(name, "{}").format(row[name]) for name in kept) or str(row["model"])
        for row in cells.to_dict("records")
    }


def _has_curve(cells: pd.DataFrame, x: str, series: dict[str, dict[str, str]]) -> bool:
    """Whether some series has two points."""
    return bool((cells[x].groupby(cells["cell"].map(series[x])).nunique() > 1).any())


def _persistent(store: str, lines: list[summaries.Line]) -> list[dict[str, Any]]:
    """Accuracy when m fresh draws must all be right, of the cells that have several; none of stores too large for it."""
    if sum(line.images for line in lines if line.rule == "single") > PERSISTENT:
        return []
    scores = analysis.scores(store)
    frame = analysis.persistence(scores[scores["evaluation_draws"] > 1], ["cell"])
    return frame.astype({"cell": str}).to_dict("records") if len(frame) else []


def _gallery(job: Job, lines: list[summaries.Line]) -> Iterator[tuple[str, list[Shown]]]:
    """The first images of the first unit of some cells, those with the most transforms and the least first."""
    columns = ["image_key", "unit", "status", "label", "clean_correct", "adv_correct", "evaluation_draws", "linf", "l2",
               "clean_mean_top5", "adv_mean_top5"]  # fmt: skip
    for name in _spread(list(dict.fromkeys(line.cell for line in lines)), CELLS):
        rows = next(batches(job.store, columns, [name])).slice(0, 1000).to_pylist()
        good = [row for row in rows if row["status"] == "ok" and row["unit"] == rows[0]["unit"]][:GALLERY]
        if not good:
            continue
        found = examples(job, unit(job, good[0]["unit"]), [row["image_key"] for row in good])
        shown = [Shown(example, row) for example, row in zip(found, good, strict=True) if example.adversarial is not None]
        if shown:
            yield name, shown


def _spread(names: list[str], count: int) -> list[str]:
    """At most so many of a list, evenly spread, with its ends."""
    if len(names) <= count:
        return names
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
