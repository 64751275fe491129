"""Order the entries of a board: those of the same images under the same threat, by what the standard attack leaves."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.board.admission import budget_of
from pipeline.board.entry import Attack, Entry, Measured


class Threat(NamedTuple):
    """Name what entries must share to be ranked together: images, ball, and the budget of the standard attack."""

    dataset: str
    norm: str
    eps: float
    budget: int

    def __str__(self) -> str:
        """Return it in words: "CIFAR-10, linf 8/255, 200 draw-gradients an image"."""
        whole = self.norm == "linf" and abs(255 * self.eps - round(255 * self.eps)) < 1e-6
        eps = f"{round(255 * self.eps)}/255" if whole else f"{self.eps:g}"
        return f"{self.dataset}, {self.norm} {eps}, {self.budget} draw-gradients an image"


class Ranked(NamedTuple):
    """Hold an entry with its rank: from `best` to `last`, since intervals that overlap decide nothing."""

    best: int
    last: int
    entry: Entry

    @property
    def rank(self) -> str:
        """Return the rank in words: "1" or "2 to 4"."""
        return str(self.best) if self.best == self.last else f"{self.best} to {self.last}"

    @property
    def standard(self) -> Attack:
        """Return the cell of the standard attack."""
        return standard(self.entry)

    @property
    def clean(self) -> Measured:
        """Return the accuracy without an attack, rule `single`."""
        return self.standard.rules["single"].clean

    @property
    def attacked(self) -> Measured:
        """Return the accuracy under the standard attack, rule `single`."""
        return self.standard.rules["single"].attacked


def standard(entry: Entry) -> Attack:
    """Return the cell of the standard attack of an entry that was admitted."""
    assert entry.standard, f"entry {entry.name} has no standard attack"
    return entry.standard


def threat(entry: Entry) -> Threat:
    """Return under what an entry is ranked."""
    return Threat(entry.data.dataset, entry.norm, entry.eps, budget_of(standard(entry)))


def ranked(entries: Iterable[Entry]) -> dict[Threat, list[Ranked]]:
    """Return the entries by threat, those with the most accuracy under the standard attack first.

    An entry's best rank is one more than the number of entries whose interval lies above its own, its last rank is the number
    of all but those whose interval lies below.
    """
    sections = defaultdict(list)
    for entry in entries:
        sections[threat(entry)].append(entry)
    return {key: _in_order(sections[key]) for key in sorted(sections)}


def _in_order(entries: list[Entry]) -> list[Ranked]:
    rates = {entry.name: standard(entry).rules["single"].attacked for entry in entries}
    found = []
    for entry in sorted(entries, key=lambda entry: (-rates[entry.name].value, entry.name)):
        own = rates[entry.name]
        above = sum(other.low > own.high for other in rates.values())
        below = sum(other.high < own.low for other in rates.values())
        found.append(Ranked(1 + above, len(entries) - below, entry))
    return found
