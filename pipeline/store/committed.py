"""Say which files hold the rows that count: those of planned units, each unit once.

A file of rows that no planned unit has is refused: it came from another store, or the files that describe this one are not its
own. If such a file counted, or a unit counted twice, intervals would be narrower than the truth.
"""

from collections.abc import Iterable

from pipeline.errors import BadInput
from pipeline.store import planned_cells
from pipeline.store.layout import Store, sealed_name, stem_of
from pipeline.store.planned_cells import Plan

_SHOWN = 120
"""Characters of a stranger's name that a message shows."""


def units(store: Store, beginning: str = "") -> tuple[Plan, dict[str, dict[str, str]]]:
    """Return the plan of a store, and of each cell with rows the file of each committed unit whose name has this `beginning`.

    The listing comes first: a cell that another driver adds meanwhile is planned before it has rows. Raises BadInput for a
    store with rows but no campaign, and for rows outside its plan; StorageError.
    """
    listed = {unit: file for unit, file in store.unit_files().items() if unit.startswith(beginning)}
    if not listed:
        return Plan(store, {}, {}), {}
    plan = planned_cells.plan(store)
    found: dict[str, dict[str, str]] = {}
    for unit, file in listed.items():
        found.setdefault(planned(plan, unit, file), {})[unit] = file
    return plan, {cell: found[cell] for cell in sorted(found)}


def planned(plan: Plan, unit: str, file: str) -> str:
    """Return the cell of a committed unit. Raises BadInput, which says what to do, if no unit of this name is planned."""
    try:
        return plan.cell_of(unit)
    except BadInput as error:
        raise BadInput(
            f"store {plan.store.url}: {file[:_SHOWN]} is not of its campaign: {error}; move that file away, or restore "
            "the store's own campaign.yaml and units/"
        ) from None


def sources(store: Store) -> dict[str, list[str]]:
    """Return the files in results/ that together hold each committed row once, by cell, in order. Raises as `units` does."""
    return {cell: in_order(files.values()) for cell, files in units(store)[1].items()}


def sources_of(store: Store, cell: str) -> list[str]:
    """Return the same files of one cell; none if it has no rows. Raises as `units` does."""
    return in_order(units(store, f"{cell}--")[1].get(cell, {}).values())


def files(store: Store) -> tuple[Plan, dict[str, list[str]]]:
    """Return the plan, and what together holds each committed row once, by cell, in order: of a sealed cell its copy alone."""
    copies, (plan, found) = store.sealed(), units(store)
    names = {cell: in_order(files.values()) for cell, files in found.items()}
    return plan, {cell: [copy] if (copy := sealed_name(cell, own)) in copies else own for cell, own in names.items()}


def in_order(names: Iterable[str]) -> list[str]:
    """Return files, each once, in the order of the units that they hold."""
    return sorted(set(names), key=lambda name: (stem_of(name), name))
