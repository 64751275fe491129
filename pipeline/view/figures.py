"""Compute what takes long, or needs the packages that attack: settings, charts, failed images, checks, histories of cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline import analysis
from pipeline.analysis.accuracy import persistence_of_counts
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.reports.page.curves import certified, curves
from pipeline.scoring.summaries import Line
from pipeline.store.layout import Store
from pipeline.view.overview import plain
from pipeline.view.rows.columns import quoted, share
from pipeline.view.rows.database import Database
from pipeline.view.rows.history import history
from pipeline.view.rows.reading import Seen

__all__ = ["checks", "figures", "histories", "opened", "pictures_missing", "settings"]


def settings(job: Job) -> dict[str, dict[str, Any]]:
    """Return the settings of each cell, as plain values."""
    return {str(row["cell"]): plain(row) for row in analysis.settings(job).to_dict("records")}


def figures(url: str, job: Job | None, lines: list[Line], database: Database) -> dict[str, Any]:
    """Return the points of the charts and the images that failed: what needs all rows."""
    points = {"curves": curves(job, lines), "certified": certified(url, lines)} if job and lines else {}
    return {"curves": points | {"persistent": _persistent(lines, database)}, "failures": _failures(database)}


def histories(database: Database, cells: Mapping[str, Seen], changed: set[str], known: dict[str, list[list[float]]]) -> None:
    """Bring the histories of the changed cells up to date in `known`."""
    for cell in changed:
        known.pop(cell, None)
        if cell in cells and (found := history(database, cell, cells[cell].times)):
            known[cell] = found


def pictures_missing(job: Job) -> str:
    """Return why there are no pictures of attacked images; empty where there are some."""
    if not job.campaign.save_adversarial:
        return "the campaign keeps none (save_adversarial)"
    first = next(iter(Store(job.store).scan("adversarial/*/*.tar")), None)
    return "" if first else "the store's folder adversarial/ is not here"


def checks(url: str) -> list[dict[str, Any]]:
    """Return the results of `barrage check`; one that says why where a file of them is damaged."""
    try:
        return analysis.checks(url).to_dict("records")
    except (BadInput, KeyError, TypeError) as error:
        return [{"store": url, "cell": "", "name": "check", "passed": None, "figures": "", "why": str(error)}]


def _persistent(lines: Sequence[Line], database: Database) -> list[dict[str, Any]]:
    """Return the accuracy if m fresh draws must all be right, of cells with several draws, in the order of the lines."""
    clean, adv = (quoted(share(side, "single", 1)) for side in ("clean", "adv"))
    asked = (
        f"SELECT cell, evaluation_draws, {clean} AS clean, {adv} AS adv, count(*) AS images FROM rows "
        "WHERE status = 'ok' AND evaluation_draws > 1 GROUP BY ALL"
    )
    counts = database.table(asked).drop_null().to_pandas()
    if not len(counts):
        return []
    counts["cell"] = pd.Categorical(counts["cell"], list(dict.fromkeys(line.cell for line in lines)))
    return persistence_of_counts(counts, ["cell"]).astype({"cell": str}).to_dict("records")


def _failures(database: Database) -> list[dict[str, Any]]:
    """Return what `analysis.failures` does."""
    asked = (
        "SELECT status, error, count(DISTINCT (shard, image_key)) AS images, count(DISTINCT cell) AS cells, "
        "arg_min(image_key, place) AS example FROM rows WHERE status <> 'ok' GROUP BY status, error "
        "ORDER BY images DESC, status, error LIMIT 1000"
    )
    return database.table(asked).to_pylist()
