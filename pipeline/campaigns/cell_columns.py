"""Give the columns of a row that follow from its cell alone."""

from typing import Any

from pipeline.config.campaign import Cell


def cell_columns(cell: Cell) -> dict[str, Any]:
    """Return the columns that all rows of a cell share, by name; `pipeline.store.schema` describes each."""
    return {
        "cell": cell.name,
        "model": cell.model_name,
        "defense": cell.defense_name,
        "k": cell.defense.k,
        "attack": cell.attack_name,
        "policy": cell.attack.gradient,
        "networks": cell.attack.imitated_by,
        "mode": cell.attack.mode,
        "frozen": cell.defense.frozen,
        "norm": cell.attack.norm,
        "eps": cell.attack.eps,
        "steps": cell.built.steps,
        "eot_draws": cell.eot_draws,
        "evaluation_draws": cell.judged_by,
        "seed": cell.seed,
        "campaign": cell.identity,
    }
