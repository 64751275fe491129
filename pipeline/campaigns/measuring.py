"""Measure how fast the workers are, before the units of new cells are cut."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pipeline.config.campaign import Cell
from pipeline.execution.protocol import Event
from pipeline.planning.throughput import alike


@dataclass(frozen=True)
class Trial:
    """Name a cell whose rate a worker is to measure. Executors hand it out like a unit; metrics don't count it."""

    cell: str

    counted_as: ClassVar[None] = None

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"measuring {self.cell}"


@dataclass(frozen=True)
class Measured(Event[Trial]):
    """Report the rate of one worker, in draw-gradients a second, for all cells that are like that of the trial."""

    rate: float

    ends: ClassVar[bool] = True


def trials(cells: Iterable[Cell]) -> list[Trial]:
    """Return what must be measured to know the rate of each cell: one of those that are alike."""
    return [Trial(name) for name in {alike(cell): cell.name for cell in cells}.values()]


def rates(cells: Iterable[Cell], measured: Iterable[Measured]) -> dict[str, float]:
    """Return the draw-gradients a second of each cell, from what was measured; cells without a measurement are missing."""
    cells = list(cells)
    kinds = {cell.name: alike(cell) for cell in cells}
    by_kind = {kinds[event.unit.cell]: event.rate for event in measured}
    return {name: by_kind[kind] for name, kind in kinds.items() if kind in by_kind}
