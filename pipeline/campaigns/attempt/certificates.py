"""Turn votes into certificates, the columns of rows; refuse cells that cannot have any."""

from collections.abc import Mapping
from typing import Any

from bart import State
from bart.certificate import radius
from bart.certificate.votes import CLASS, VOTES
from pipeline.config.attacks import Certify
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput


def fit(cell: Cell) -> None:
    """Raise BadInput if a cell asks for certificates of a defense that adds no Gaussian noise to the image."""
    if isinstance(cell.attack, Certify) and _sigma(cell) is None:
        raise BadInput(
            f"cell {cell.name}: certify needs a defense that first adds Gaussian noise to the image, {cell.defense_name} is "
            f"{cell.defense.summary}: use the kind gaussian, alone or first in compose, and not frozen"
        )


def columns(cell: Cell, state: State, i: int) -> dict[str, Any]:
    """Return the columns of the certificate of image i; none where the cell has no certificates."""
    if not isinstance(cell.attack, Certify):
        return {}
    votes = int(state.memory[VOTES][i])
    drawn = int(state.forward_evals[i]) > 0  # a skipped image has none
    if not drawn:
        return {}
    found = {CLASS: int(state.memory[CLASS][i]), VOTES: votes, "smoothed_draws": cell.attack.draws}
    return found | {"certified_radius": certified(cell, votes)}


def certified(cell: Cell, votes: int) -> float | None:
    """Return the radius that votes certify in a cell; None where the smoothed classifier abstains."""
    sigma = _sigma(cell)
    assert isinstance(cell.attack, Certify) and sigma is not None, "the cell has certificates"
    return radius(votes, cell.attack.draws, sigma, cell.attack.alpha)


def fault(cell: Cell, row: Mapping[str, Any]) -> str:
    """Return what is wrong with the certificate of a row; empty if nothing is."""
    if not isinstance(cell.attack, Certify) or row[VOTES] is None:
        return ""
    want = certified(cell, row[VOTES])
    same = row["certified_radius"] is None if want is None else abs((row["certified_radius"] or 0.0) - want) < 1e-9
    return "" if same else f"certified_radius is {row['certified_radius']}, {want} follows from smoothed_votes"


def _sigma(cell: Cell) -> float | None:
    """Return the standard deviation of the noise that a cell's defense adds first; None if it adds none, or always the same."""
    return cell.defense.build().noise if cell.defense.random else None
