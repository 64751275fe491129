"""Sum up the rows of a store, unit by unit as they are committed, as figures for trackers."""

from collections.abc import Iterable, Mapping

from pipeline.scoring.rules import RULES
from pipeline.scoring.summaries import Tally, columns, tallied
from pipeline.status import scan
from pipeline.storage import urls
from pipeline.store import planned_cells
from pipeline.store.layout import Store
from pipeline.store.rows import batches, table

TOTAL = "campaign"
"""What stands before figures of the whole campaign, where the name of a cell stands else."""


class Figures:
    """Hold the sums over the committed rows of a store. A unit counts once, however often it is named."""

    def __init__(self, store: Store) -> None:
        """Read what the store holds already. Raises BadInput and StorageError, as `batches` does."""
        self._store, self._plan, self._rules = store, planned_cells.plan(store), list(RULES.working())
        self._cells: dict[str, Tally] = {}
        self._counted = set[str]()
        for rows in batches(store.url, [*columns(self._rules), "unit"]) if store.has_rows() else ():
            self._take(tallied(rows, self._rules), rows["unit"].unique().to_pylist())
        self._parked = {unit.unit for unit in scan.parked(store, self._plan)[0]} - self._counted
        self._changed = set(self._cells)

    def add(self, unit: str) -> None:
        """Count the rows of a committed unit. Raises BadInput and StorageError where they cannot be read."""
        planned = self._plan.named(unit)
        if unit in self._counted or planned is None:
            return
        name = self._store.results(planned)
        rows = table(self._store.read(name) or b"", urls.join(self._store.url, name), identity=self._plan.cells[planned.cell])
        self._take(tallied(rows, self._rules), [unit])
        self._parked.discard(unit)
        self._changed.add(planned.cell)

    def park(self, unit: str) -> None:
        """Count a unit that was given up."""
        self._parked.add(unit)

    @property
    def images(self) -> int:
        """Return how many images are done: attacked, or recorded with the reason why not."""
        return sum(tally.images + tally.failed for tally in self._cells.values())

    def changed(self) -> dict[str, float]:
        """Return the figures of the whole campaign, and of the cells with rows that came since the last call."""
        found = {name: value for cell in sorted(self._changed) for name, value in self._of(cell).items()}
        self._changed.clear()
        return found | {
            f"{TOTAL}/images_done": self.images,
            f"{TOTAL}/images_failed": sum(tally.failed for tally in self._cells.values()),
            f"{TOTAL}/units_parked": len(self._parked),
            f"{TOTAL}/draw_gradients": sum(tally.draw_gradients for tally in self._cells.values()),
        }

    def _take(self, tallies: Mapping[str, Tally], units: Iterable[str]) -> None:
        for cell, tally in tallies.items():
            self._cells[cell] = self._cells[cell] + tally if cell in self._cells else tally
        self._counted.update(units)

    def _of(self, cell: str) -> dict[str, float]:
        """Return the figures of one cell: what it cost, and its top-1 accuracies in [0, 1] with the ends of their intervals."""
        tally = self._cells[cell]
        found: dict[str, float] = {
            "images_done": tally.images + tally.failed,
            "images_failed": tally.failed,
            "images_blind": tally.blind,
            "draw_gradients": tally.draw_gradients,
            "device_seconds": tally.seconds,
        }
        for rule in self._rules:
            line = tally.line(cell, rule, None)
            for side, rate in (("clean", line.clean_top1), ("attacked", line.adv_top1)):
                if rate:
                    found |= {f"{side}_{rule}": rate.value, f"{side}_{rule}_low": rate.low, f"{side}_{rule}_high": rate.high}
        return {f"{cell}/{name}": value for name, value in found.items()}
