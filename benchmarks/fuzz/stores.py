"""Change files of stores: plan, rows, sealed copies, interim checks, parked units, checkpoints; no row may change unseen."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

from benchmarks.fuzz.changes import mutated, revalued
from benchmarks.fuzz.kind import FAULTS, SAME, Kind, Unsound, twice
from pipeline.campaigns import job, parking, stop_rule
from pipeline.errors import BadInput
from pipeline.scoring import summaries
from pipeline.status.summary import Reader
from pipeline.store import checkpoints, formats
from pipeline.store.attempts import Attempts
from pipeline.store.committed import sources
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support.stores import handmade, synthetic

IMAGES, UNIT = 6, 2
"""Images of the sound stores, and of one of their units."""

TENSORS = {"x": torch.arange(24.0).view(2, 3, 2, 2), "step": torch.tensor([3, 4])}
"""The state of the running unit."""

LAID = ("results", "sealed", "units", "looks", "parked", "checkpoints")
"""The folders of a store whose files are changed."""


class Stores(Kind):
    """Read stores of which some file has changed, by all that reads stores."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = folder / "store"
        self.job, self.running = _made(self.store)
        self.sound = {path: path.read_bytes() for path in sorted(self.store.rglob("*")) if path.is_file()}
        self.groups = [[path for path in self.sound if path.parts[len(self.store.parts)] == name] for name in LAID]
        self.groups.append([self.store / "campaign.yaml"])
        self.answers = {name: read(self) for name, read in READERS.items()}

    def attempt(self, chance: Random) -> str:
        """Read one mutant; see `Kind.attempt`."""
        path = chance.choice(chance.choice(self.groups))
        try:
            lost = self._disturb(path, chance)
            return self._judged(path, lost, chance)
        finally:
            for extra in (path for path in self.store.rglob("*") if path.is_file() and path not in self.sound):
                extra.unlink()
            for whole, data in self.sound.items():
                if not whole.is_file() or whole.read_bytes() != data:
                    whole.write_bytes(data)

    def _judged(self, path: Path, lost: str, chance: Random) -> str:
        """Return what became of a store whose file `path` has changed; `lost` names the unit whose rows are no more there."""
        said = ""
        for name in ("rows", chance.choice(list(READERS)[1:])):
            try:
                found = twice(partial(READERS[name], self))
            except BadInput as error:
                said = str(error)
                continue
            wanted = _without(name, self.answers[name], lost)
            if (name in EXACT and found != wanted) or (name == "checkpoint" and found not in (None, self.answers[name])):
                raise Unsound(
                    f"{name} changed, by a change of {path.relative_to(self.store)}: {found!r:.300} instead of {wanted!r:.300}"
                )
        if said:
            raise BadInput(said)
        return FAULTS if lost else SAME

    def _disturb(self, path: Path, chance: Random) -> str:
        """Change a file, put another in its place, or a stranger beside it. Return the unit whose rows are gone, if any are."""
        match chance.choice(("bytes", "bytes", "bytes", "bytes", "values", "values", "other", "stranger", "remove")):
            case "values" if path.suffix in (".json", ".yaml"):
                path.write_bytes(_revalued(path, chance))
            case "other":
                group = next(group for group in self.groups if path in group)
                path.write_bytes(self.sound[chance.choice(group)])
            case "stranger":
                name = chance.choice(STRANGERS).format(stem=path.stem, end=path.suffix)
                (path.parent / name).write_bytes(
                    mutated(self.sound[path], chance) if chance.random() < 0.5 else self.sound[path]
                )
            case "remove":
                path.unlink()
                return path.stem if path.parent.name == "results" else ""
            case _:
                path.write_bytes(mutated(self.sound[path], chance))
        return ""


STRANGERS = (
    "x{end}", "{stem}.copy{end}", "{stem}--x{end}", "compacted-000000{end}", "{stem}.attempt1{end}", ".{stem}{end}",
    "\x1b[31m{end}", "{stem} (1){end}", "other--val-000000--000000-000002{end}", "{stem}.tmp", "图{end}",
    "x" * 200 + "{end}", "00{end}", "99{end}",
)  # fmt: skip
"""Names of files that do not belong into a store."""


def _made(folder: Path) -> tuple[job.Job, Any]:
    """Write a sound store with files of every kind; return its job, and the unit that is running."""
    content = synthetic.campaign(
        ks=(0, 5), attacks={"pgd": {"kind": "pgd", "eps": "8/255"}}, stop={"interval": 0.01, "minimum_images": 2}
    )
    made = synthetic.store(folder, content, images=IMAGES, unit_images=UNIT, failed=1)
    store, units = Store(folder), list(made.units())
    for cell in sources(store):
        seal(store, cell)
    *_, parked, running = units
    for unit in (parked, running):
        (folder / store.results(unit)).unlink()
    handmade.park(made, parked)
    header = checkpoints.Header(running.name, made.cells[running.cell].identity, 3.5, 40, UNIT, 1.5)
    store.create(store.checkpoint(running), bytes(checkpoints.encode(header, TENSORS)))
    for cell in made.cells:
        check = stop_rule.compute(str(folder), cell, 0, made.cuts[cell], "single", [unit.name for unit in units])
        stop_rule.write(store, check)
    return made, running


def _revalued(path: Path, chance: Random) -> bytes:
    """Return a file of values with one changed; half of them with the hash that then is right."""
    content = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
    content = revalued(content, chance)
    if isinstance(content, dict) and formats.HASH in content and chance.random() < 0.5:
        bare = {key: value for key, value in content.items() if key not in (formats.HASH, *formats.stamp())}
        with suppress(TypeError):  # of keys that are no texts, none can be made
            content = content | {formats.HASH: formats.hashed(bare)[formats.HASH]}
    text = yaml.safe_dump(content, sort_keys=False) if path.suffix == ".yaml" else json.dumps(content)
    return text.encode("utf-8", "surrogatepass")


def _rows(kind: Stores) -> Any:
    return sorted(map(repr, results(str(kind.store)).to_pylist()))


def _status(kind: Stores) -> Any:
    found = Reader(str(kind.store)).status()
    return {name: (cell.units, cell.done, cell.images_done) for name, cell in found.cells.items()}


def _todo(kind: Stores) -> Any:
    found = job.opened(str(kind.store))
    return sorted(unit.name for unit in found.todo()), sorted(found.parked())


def _table(kind: Stores) -> Any:
    rules = ["single", "vote"]
    found = job.opened(str(kind.store))
    return summaries.to_json(summaries.lines([results(str(kind.store), summaries.columns(rules))], rules, found.scopes()))


def _parked(kind: Stores) -> Any:
    store = Store(kind.store)
    return {unit: parking.reason(store, unit) for unit in parking.parked(store)}


def _checkpoint(kind: Stores) -> Any:
    store = Store(kind.store)
    found = Attempts(store, store.checkpoint(kind.running)).furthest(
        kind.running.name, kind.job.cells[kind.running.cell].identity
    )
    if found is None:
        return None
    header, tensors = found
    return header, {name: tensor.tolist() for name, tensor in tensors.items()}


READERS: Mapping[str, Callable[[Stores], Any]] = {
    "rows": _rows, "status": _status, "todo": _todo, "table": _table, "parked": _parked, "checkpoint": _checkpoint,
}  # fmt: skip
"""What reads a store, by name."""

EXACT = {"rows"}
"""The readers whose answer no change of a file may change: a store is refused, or gives the rows that it had."""


def _without(name: str, answer: Any, unit: str) -> Any:
    """Return what a reader gives of a store that has lost the rows of a unit."""
    return [row for row in answer if f"'unit': {unit!r}" not in row] if unit and name == "rows" else answer
