"""Describe a store besides its rows, as plain values for the page: cells, lines of the table, curves, what went wrong."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import shortened
from pipeline.scoring import blind, summaries
from pipeline.scoring.summaries import Line
from pipeline.status.summary import Status
from pipeline.store import formats, mixing
from pipeline.store.layout import Store
from pipeline.view.rows.reading import ORIGIN, Seen, added
from pipeline.view.rows.scored import cut

TRACEBACKS = 100
"""The most parked units whose tracebacks are shown."""

TRACEBACK = 20_000
"""The most characters of a traceback."""

SETTINGS = ("model", "defense", "attack", "norm", "eps", "k", "steps", "eot_draws", "evaluation_draws")
"""What the page shows of a cell's settings."""


@dataclass
class Slow:
    """Hold what takes long to compute (`pipeline.view.figures`), until rows of the store change."""

    history: dict[str, list[list[float]]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    pictures_missing: str = "the campaign is not read yet"


def of_status(
    status: Status, settings: Mapping[str, Mapping[str, Any]], lines: Sequence[Line], cells: Mapping[str, Seen]
) -> dict[str, Any]:
    """Return how far a store is, and its cells."""
    line_of = {line.cell: line for line in lines}
    return {
        "name": cut(status.name),
        "complete": status.complete,
        "images_per_second": status.throughput.images if status.throughput else None,
        "seconds_left": status.seconds_left,
        "cells": [
            {
                "cell": cell,
                **{name: settings.get(cell, {}).get(name) for name in SETTINGS},
                "units": found.units,
                "units_done": found.done,
                "running": found.running,
                "parked": found.parked,
                "images": found.images,
                "images_done": found.images_done,
                "failed": line_of[cell].failed if cell in line_of else 0,
                "blind": line_of[cell].blind if cell in line_of else 0,
                "stopped": line_of[cell].stopped if cell in line_of else False,
                "first_rows_at": min(cells[cell].times.values(), default=None) if cell in cells else None,
            }
            for cell, found in status.cells.items()
        ],
    }  # fmt: skip


def of_rows(lines: Sequence[Line], cells: Mapping[str, Seen]) -> dict[str, Any]:
    """Return the lines of the table with what a reader of them has to know, and the machines that rows come from."""
    origins: dict[Any, tuple[int, float]] = {}
    for seen in cells.values():
        origins = added(origins, seen.origins)
    most = sorted(origins.items(), key=lambda item: -item[1][1])
    machines = [dict(zip(ORIGIN, found, strict=True)) | {"images": n, "hours": s / 3600} for found, (n, s) in most]
    mixed = {mixing.Origin(row["commit"], row["versions"], row["device"]): row["images"] for row in machines}
    return {
        "rows": sum(line.images + line.failed for line in _one_rule(lines)),
        "lines": [summaries.as_dict(line) for line in lines],
        "notes": [*summaries.notes(lines), *mixing.mixed(mixed)],
        "machines": [row | {"versions": _versions(row["versions"])} for row in machines],
    }


def alarms(status: Status, lines: Sequence[Line]) -> list[str]:
    """Return what to check: what status warns of, and cells whose attack was blind."""
    found = {line.cell: blind.alarm(line.blind, line.images) for line in _one_rule(lines)}
    return [*status.warnings, *(f"{cell}: {text}" for cell, text in found.items() if text)]


def parked(store: Store, status: Status) -> list[dict[str, Any]]:
    """Return the parked units, each with the traceback of its last try, of at most some TRACEBACK characters."""
    out = []
    for place, unit in enumerate(status.parked):
        trace = _traceback(store, unit.unit) if place < TRACEBACKS else ""
        kept = {"unit": unit.unit, "cell": unit.cell, "tries": unit.attempts, "host": cut(unit.host), "when": cut(unit.when)}
        out.append(kept | {"error": cut(unit.error), "traceback": shortened(trace, TRACEBACK)})
    return out


def _traceback(store: Store, unit: str) -> str:
    name = f"parked/{unit}.json"
    try:
        return str(formats.of_json(name, store.read(name) or b"")["attempts"][-1]["error"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def _one_rule(lines: Sequence[Line]) -> list[Line]:
    """Return one line of each cell."""
    return list({line.cell: line for line in lines}.values())


def _versions(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"versions": cut(text)}


def plain(value: Any) -> Any:
    """Return a value as JSON takes it: None for a number that is not finite, plain numbers for those of NumPy."""
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(of) for key, of in value.items()}
    if isinstance(value, list | tuple):
        return [plain(of) for of in value]
    return plain(value.item()) if hasattr(value, "item") else None
