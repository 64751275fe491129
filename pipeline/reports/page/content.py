"""Gather from a store what the page shows: rows, campaign, checks and examples. Parts that a store lacks are left out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import analysis, provenance
from pipeline.analysis.runs import COLUMNS as MADE
from pipeline.analysis.runs import Machines
from pipeline.campaigns.job import Job, opened
from pipeline.errors import BadInput
from pipeline.reports.page.curves import certified, curves, persistent
from pipeline.reports.pictures import OF_A_PICTURE, Example, Images
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.status.summary import Reader, Status
from pipeline.store import mixing
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE
from pipeline.store.rows import batches

GALLERY = 6
"""The most images of a cell in the gallery: some hundred kilobytes."""

CELLS = 6
"""The most cells in the gallery."""

PAIRS = 8
"""The most pairs of classes that a cell shows, those of most images."""

SEARCHED = 200_000
"""The most images of a cell whose errors are shown: some seconds."""

DRAWN = 10_000
"""The most images of a cell whose draws are made again, to see which parts of them saved images: a third of a second."""


@dataclass(frozen=True)
class Shown:
    """Hold an example with its row: how many draws were right, clean and attacked, and the likeliest classes."""

    example: Example
    row: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Hold everything on the page.

    lines          a line a cell and decision rule
    notes          sentences that a reader of the lines has to know
    points         what the charts draw, for JSON
    gallery        examples by cell
    missing        why there are no examples; empty where there are some
    campaign_file  the text of the store's campaign.yaml
    errors         where some cells err, by cell: as `pipeline.analysis.errors`, and `pairs` of classes
    version        the commit or release that writes the page
    """

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
    errors: dict[str, dict[str, Any]]
    version: str


def gather(store: str) -> Content:
    """Read a store. Raises BadInput if there is no store, it holds no rows, or another version wrote it."""
    job, status = opened(store), Reader(store).status()
    rules, machines = RULES.working(), Machines()
    rows = machines.seen(batches(store, list(dict.fromkeys([*summaries.columns(rules), *MADE]))))
    cells = summaries.tallies(rows, rules)
    lines = summaries.lines_of(cells, rules)
    made_by = machines.frame().to_dict("records")
    mixed = {mixing.Origin(row["commit"], row["versions"], row["device"]): row["images"] for row in made_by}
    mixing.warn(mixed)
    in_order = {line.cell: cells[line.cell] for line in lines}
    failed = [cell for cell, tally in cells.items() if tally.failed]
    images = Images(job)
    try:
        gallery, missing = dict(_gallery(images, lines)), ""
    except BadInput as error:
        gallery, missing = {}, str(error)
    if not gallery and not missing:
        missing = images.no_examples
    return Content(
        status=status,
        job=job,
        lines=lines,
        notes=[*summaries.notes(lines), *mixing.mixed(mixed)],
        points={"curves": curves(job, lines), "persistent": persistent(job, in_order), "certified": certified(store, lines)},
        machines=[row | {"versions": json.loads(row["versions"])} for row in made_by],
        failures=analysis.failures(store, failed).to_dict("records"),
        gallery=gallery,
        missing=missing,
        checks=analysis.checks(store).to_dict("records"),
        campaign_file=(Store(store).read(FILE) or b"").decode(),
        errors=dict(_errors(job, lines)),
        version=provenance.commit(),
    )


def _errors(job: Job, lines: list[summaries.Line]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return where at most CELLS cells err under the rule single."""
    cells = [line.cell for line in lines if line.rule == "single" and 0 < line.images <= SEARCHED]
    for cell, found in analysis.errors.of_job(job, _spread(cells, CELLS), drawn=DRAWN):
        yield cell, found | {"pairs": _pairs(found["confusion"])}


def _pairs(confusion: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return the pairs of a class and another that most images of it were taken for, and the number of these images."""
    names = confusion["names"]
    wrong = [
        (name, other, times)
        for i, (name, row) in enumerate(zip(names, confusion["counts"], strict=False))
        for j, (other, times) in enumerate(zip(names, row, strict=False))
        if i != j and times
    ]
    return sorted(wrong, key=lambda pair: -pair[2])[:PAIRS]


def _gallery(images: Images, lines: list[summaries.Line]) -> Iterator[tuple[str, list[Shown]]]:
    """Return the examples of at most CELLS cells: the first images of each cell's first unit."""
    columns = [*OF_A_PICTURE, "label", "clean_correct", "adv_correct", "evaluation_draws", "linf", "l2", "clean_mean_top5",
               "adv_mean_top5"]  # fmt: skip
    for name in _spread(list(dict.fromkeys(line.cell for line in lines)), CELLS):
        rows = next(batches(images.job.store, columns, [name])).slice(0, 1000).to_pylist()
        good = [row for row in rows if row["status"] == "ok" and row["unit"] == rows[0]["unit"]][:GALLERY]
        if not good:
            continue
        shown = [Shown(example, row) for row in good if (example := images.example(row)).adversarial is not None]
        if shown:
            yield name, shown


def _spread(names: list[str], count: int) -> list[str]:
    """Return at most `count` names of a list, evenly spread, its ends among them."""
    if len(names) <= count:
        return names
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
