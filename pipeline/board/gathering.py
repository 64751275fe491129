"""Gather the entries that a store holds: one for each defense of a model under one threat, with all its attacks."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from pipeline import analysis
from pipeline.board.entry import (
    Attack,
    Checks,
    Data,
    Defended,
    Entry,
    Measured,
    Origin,
    Sides,
    State,
    Submission,
    Weights,
    Worst,
)
from pipeline.campaigns import check, definition_versions
from pipeline.campaigns.job import Job, opened
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput
from pipeline.scoring import summaries
from pipeline.scoring.intervals import Rate, rate
from pipeline.scoring.rules import RULES
from pipeline.storage import urls
from pipeline.store import formats, mixing
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE
from pipeline.store.rows import batches

Lines = Mapping[tuple[str, str], summaries.Line]
"""The lines of the store's table by cell and rule."""

STATES: dict[bool | None, State] = {True: "passed", False: "failed", None: "reported"}


def groups(job: Job, cells: Collection[str] | None) -> list[list[Cell]]:
    """Return the cells of a store, or those named, by model, defense and threat. Raises BadInput for an unknown cell."""
    for name in cells or ():
        if name not in job.cells:
            raise BadInput(f"--cell {name}: store {job.store} has no such cell; expected one of {', '.join(job.cells)}")
    found = defaultdict(list)
    for cell in job.cells.values():
        if not cells or cell.name in cells:
            threat = (cell.attack.norm, cell.attack.eps, cell.attack.goal)
            found[cell.model_name, cell.defense_name, threat].append(cell)
    return list(found.values())


def gather(job: Job, cells: list[Cell], dataset: str, submission: Submission) -> Entry:
    """Return the entry of some cells of a store, whether it may stand on the board or not.

    Raises BadInput if the store has no rows of them, or if definitions changed since, so that they cannot be made again.
    """
    names = [cell.name for cell in cells]
    outdated = definition_versions.outdated(job.campaign, job.store)
    if changed := [outdated[name] for name in names if name in outdated]:
        raise BadInput(f"{names[0]}: {changed[0]}: its rows cannot be made again; run it anew in another store")
    lines = _lines(job, names)
    if missing := [name for name in names if (name, "single") not in lines]:
        raise BadInput(f"{missing[0]}: 0 of {sum(job.images.values())} images are done: run the campaign to its end")
    first = cells[0]
    head = next((cell for cell in cells if cell.attack.kind == "standard"), first)
    return Entry(
        name=f"{job.name}-{head.name}",
        submission=submission,
        campaign=job.name,
        seed=first.seed,
        data=_data(job, first, dataset),
        model=_model(first),
        defense=_defense(first),
        norm=first.attack.norm,
        eps=first.attack.eps,
        goal=first.attack.goal,
        skip_misclassified=first.skip_misclassified,
        attacks=_attacks(job, cells, lines),
        worst=_worst(job, names),
        checks=_checks(job, head),
        definitions={table: dict(found) for table, found in head.versions.items()},
        origins=_origins(job, names),
    )


def _lines(job: Job, names: list[str]) -> Lines:
    rules = list(RULES.builtin)
    rows = batches(job.store, summaries.columns(rules), names)
    found = summaries.lines(rows, rules, job.scopes())
    return {(line.cell, line.rule): line for line in found}


def _data(job: Job, cell: Cell, dataset: str) -> Data:
    shards = {name: job.shards[name].sha256 for name, images in job.images.items() if images}
    return Data(dataset=dataset, shards=shards, images=sum(job.images.values()), resize=cell.resize, crop=cell.crop)


def _model(cell: Cell) -> Weights:
    model = cell.model
    sha256 = model.sha256 or model.contents_sha256
    return Weights(name=cell.model_name, architecture=model.architecture, classes=model.classes, weights_sha256=sha256)


def _defense(cell: Cell) -> Defended:
    settings = _settings(cell.defense)
    return Defended(name=cell.defense_name, summary=cell.defense.summary, settings=settings, random=cell.defense.random)


def _settings(section: Any) -> dict[str, Any]:
    """Return every setting of a section, defaults included: what they mean must not depend on a later release."""
    return {"kind": section.kind} | section.model_dump(mode="json")


def _attacks(job: Job, cells: list[Cell], lines: Lines) -> list[Attack]:
    shares = {rule: analysis.scores(job.store, rule, 1, [cell.name for cell in cells]) for rule in RULES.builtin}
    return [_attack(cell, lines, {rule: found[found["cell"] == cell.name] for rule, found in shares.items()}) for cell in cells]


def _attack(cell: Cell, lines: Lines, scores: Mapping[str, Any]) -> Attack:
    """Return what is known of one cell; `scores` are the scores of its images by rule."""
    line, rules = lines[cell.name, "single"], {}
    for rule, found in scores.items():
        of, said = cell.judged_by if rule == "single" else 1, lines[cell.name, rule]
        rules[rule] = Sides(
            clean=_measured(said.clean_top1, found["clean"], of), attacked=_measured(said.adv_top1, found["adv"], of)
        )
    return Attack(
        cell=cell.name,
        identity=cell.identity,
        settings=_settings(cell.attack),
        planned=line.planned or 0,
        images=line.images,
        stopped=line.stopped,
        failed=line.failed,
        blind=line.blind,
        moved=line.moved,
        evaluation_draws=cell.judged_by,
        draw_gradients=line.draw_gradients,
        device_seconds=line.seconds,
        rules=rules,
    )


def _measured(found: Rate | None, shares: Iterable[float], of: int) -> Measured:
    """Return a rate with the shares of its images, which have `of` draws each. Raises BadInput where there is no image."""
    if found is None:
        raise BadInput("no image was attacked: the column `error` of the rows says why")
    right = np.asarray(shares, dtype=np.float64)
    counts = Counter(int(count) for count in np.rint(right[~np.isnan(right)] * of))
    shown = {f"{count}/{of}": counts[count] for count in sorted(counts)}
    return Measured(value=found.value, low=found.low, high=found.high, shares=shown)


def _worst(job: Job, names: list[str]) -> Worst | None:
    """Return the accuracy under the worst attack of each image; None for a single attack, or where no image met all."""
    if len(names) == 1:
        return None
    scores = analysis.scores(job.store, "single", 1, names)
    found = analysis.worst_case(scores)
    if found.empty:
        return None
    (line,) = found.to_dict("records")
    wide = analysis.per_image(scores)
    least = wide[[*names]].dropna().min(axis=1)
    draws = job.cells[names[0]].judged_by
    bound = _measured(rate(least), least, draws)
    return Worst(attacks=line["attacks"], least=bound, apart=line["adv_apart"], high=line["adv_high"])


def _checks(job: Job, cell: Cell) -> Checks:
    """Return what became of each check of a cell: `missing` where it was not made for this very cell."""
    if not isinstance(cell.attack, ByGradient):
        return Checks(images=0, states={})
    states: dict[str, State] = dict.fromkeys(["gradients", "model", *(one.name for one in check.checks(cell))], "missing")
    place = f"check/{cell.name}"
    data = Store(job.store).read(f"{place}/check.json")
    found = formats.of_json(urls.join(job.store, f"{place}/check.json"), data) if data else {}
    if found.get("identity") != cell.identity:
        return Checks(images=0, states=states)
    states |= {one["name"]: STATES[one["passed"]] for one in found["checks"]}
    inner = urls.join(job.store, place)
    images = sum(opened(inner).images.values()) if Store(inner).read(FILE) else 0
    return Checks(images=images, states=states)


def _origins(job: Job, names: list[str]) -> list[Origin]:
    counts = sum((mixing.counted(rows) for rows in batches(job.store, mixing.COLUMNS, names)), Counter[mixing.Origin]())
    return [
        Origin(commit=origin.commit, libraries=json.loads(origin.versions or "{}"), device=origin.device, rows=count)
        for origin, count in sorted(counts.items())
    ]
