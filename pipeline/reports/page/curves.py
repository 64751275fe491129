"""Make the points of the charts, as plain values: accuracy against each setting, and certified against the radius."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline import analysis
from pipeline.analysis.accuracy import all_right
from pipeline.campaigns.job import Job
from pipeline.scoring import summaries

XS = ("k", "eps", "steps", "eot_draws", "draw_gradients")
"""The columns that accuracy can be drawn against; `pipeline.reports.style.AXES` has their labels."""


def curves(job: Job, lines: list[summaries.Line]) -> dict[str, Any]:
    """Return the points of the chart, one a cell and rule, and for each x that has a curve the series of each cell."""
    cells = analysis.settings(job).set_index("cell", drop=False)
    per_image = {line.cell: line.draw_gradients / max(1, line.images) for line in lines}
    cells["draw_gradients"] = cells.index.map(lambda cell: per_image.get(cell, float("nan")))
    cells = cells[cells["draw_gradients"].notna()]
    series = {x: _labels(cells, x) for x in XS}
    drawn = {x: series[x] for x in XS if _has_curve(cells, x, series)} or {"draw_gradients": series["draw_gradients"]}
    values = cells[list(XS)].to_dict("index")
    return {
        "series": drawn,
        "points": [summaries.as_dict(line) | {"x": values[line.cell]} | _kind(line, cells.loc[line.cell]) for line in lines],
    }


def certified(store: str, lines: list[summaries.Line]) -> list[dict[str, Any]]:
    """Return the certified accuracy against the radius, of cells with certificates, and beside it what attacks left."""
    if not any(line.certified for line in lines):
        return []
    frame = analysis.certified(store)
    return frame.astype({"cell": str, "store": str}).to_dict("records")


def persistent(job: Job, cells: Mapping[str, summaries.Tally]) -> list[dict[str, Any]]:
    """Return the accuracy if m fresh draws must all be right, of cells with several draws: the lines of `persistence`."""
    found = []
    for cell in (cell for cell, tally in cells.items() if tally.images and job.cells[cell].judged_by > 1):
        sides = {side: cells[cell].shares["single", f"{side}_top1"] for side in ("clean", "adv")}
        for m in range(1, job.cells[cell].judged_by + 1):
            line = {"cell": cell, "draws": m, "images": cells[cell].images}
            found.append(line | all_right(sides, job.cells[cell].judged_by, m))
    return found


def _kind(line: summaries.Line, cell: "pd.Series[Any]") -> dict[str, Any]:
    """Return what judges in a line's cell, and whether it is an L2 attack, which certificates can be compared with."""
    l2 = cell["norm"] == "l2" and line.certified is None
    return {"defended": f"{cell['model']}, {cell['defense']}", "l2": bool(l2)}


def _labels(cells: pd.DataFrame, x: str) -> dict[str, str]:
    """Return the series of each cell when accuracy is drawn against `x`, named by the settings that differ between cells."""
    names = analysis.series(cells, x) if x != "draw_gradients" else ["model", "defense"]
    kept = [name for name in names if cells[name].nunique() > 1]
    return {
        str(row["cell"]): ", ".join(analysis.WORDS.get(name, "{}").format(row[name]) for name in kept) or str(row["model"])
        for row in cells.to_dict("records")
    }


def _has_curve(cells: pd.DataFrame, x: str, series: dict[str, dict[str, str]]) -> bool:
    """Return whether a series has two points."""
    return bool((cells[x].groupby(cells["cell"].map(series[x])).nunique() > 1).any())
