"""Make the campaign that judges finished examples: those of a campaign, with the examples in place of its attacks."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.config.attacks import Attack, Examples
from pipeline.config.campaign import Campaign, Grid, validated
from pipeline.errors import BadInput


class Ball(NamedTuple):
    """Name the ball that examples must be in; None: as the campaign's attacks have it. `eps` is text such as 8/255."""

    norm: str | None = None
    eps: str | None = None


AS_ATTACKED = Ball()


def campaign_of(
    campaign: Campaign, path: str, match: str | None = None, ball: Ball = AS_ATTACKED, cells: Sequence[str] = ()
) -> Campaign:
    """Return the campaign that judges the examples at `path` under models and defenses of `campaign`.

    match  how examples find their images; default: by key where they have keys
    cells  those whose models and defenses judge; default: all
    Raises BadInput for a cell that the campaign lacks, or where its attacks have several balls and `ball` names none.
    """
    known = {cell.name: cell for cell in campaign.grid()}
    for name in cells:
        if name not in known:
            raise BadInput(f"--cell {name}: expected a cell of the campaign: {', '.join(known)}")
    chosen = [known[name] for name in cells] or list(known.values())
    name, place = name_of(path), path if "://" in path else str(Path(path).resolve())
    settings = {"kind": "examples", "path": place, "match": match, **_ball([cell.attack for cell in chosen], ball)}
    pairs = dict.fromkeys((cell.model_name, cell.defense_name) for cell in chosen)
    return campaign.model_copy(
        update={
            "name": f"{campaign.name}-{name}",
            "attacks": {name: validated(Examples, settings, "examples")},
            "cells": [Grid(model=[model], defense=[defense], attack=[name]) for model, defense in pairs],
            "stop": None,
            "store": None,
        }
    )


def _ball(attacks: Sequence[Attack], ball: Ball) -> dict[str, str | float]:
    """Return norm and radius: those of `ball`, else those that all attacks have. Raises BadInput if these differ."""
    found: dict[str, str | float] = {}
    for name, given in ball._asdict().items():
        values = {getattr(attack, name) for attack in attacks}
        if given is None and len(values) > 1:
            every = ", ".join(f"{value:.4g}" if name == "eps" else value for value in sorted(values))
            raise BadInput(f"the campaign's attacks have several balls ({name} {every}): say by --{name} which one is meant")
        found[name] = values.pop() if given is None else given
    return found


def name_of(path: str) -> str:
    """Return a name for the examples at a path: that of the file, as campaigns and stores take it."""
    stem = re.sub(r"\.(npz|npy|pt|pth|tar|tar\.gz|tgz)$", "", path.rstrip("/").rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9_.]+", "-", stem).strip("-._") or "examples"
