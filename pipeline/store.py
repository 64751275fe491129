"""The store: files that are whole or not there. What is done is what can be listed; nothing else remembers it.

campaign.yaml                           the resolved campaign, its shards and the identity of each cell
results/cell=<cell>/<unit>.parquet      committed once; its presence is "done"
results/cell=<cell>/compacted-<number>.parquet   the rows of many units, which are done too (`pipeline.compact`)
compacted/cell=<cell>/<number>.txt      the names of these units, one a line; written before
checkpoints/<unit>.safetensors          the running attack; gone once committed
adversarial/cell=<cell>/<unit>.tar      8-bit PNG examples as WebDataset, same keys
"""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.plan import Unit

COMPACTED = re.compile(r"compacted-\d{6}")
"""Names of compacted files. No unit is called like that: all their names hold two hyphens in a row."""


class Refused(OSError):
    """The store did not take a file: a full disk, a missing right. No unit's fault, and no other unit will fare better."""


class Store:
    """A folder on a local disk or NFS."""

    def __init__(self, url: str | Path) -> None:
        if "://" in str(url):
            raise BadInput(f"store {url}: expected a local path or a mounted file system")
        self.root = Path(url)

    def results(self, unit: Unit) -> str:
        return f"results/cell={unit.cell}/{unit.name}.parquet"

    def adversarial(self, unit: Unit) -> str:
        return f"adversarial/cell={unit.cell}/{unit.name}.tar"

    def checkpoint(self, unit: Unit) -> str:
        return f"checkpoints/{unit.name}.safetensors"

    def done(self) -> set[str]:
        """The names of the committed units. Raises BadInput if it can not be known of which units compacted rows are."""
        own = self.own()  # before the lists: a unit's own file goes only after its name is in one
        compacted, lists = self.compacted(), self.lists()
        for file in compacted:
            if file not in lists:
                raise BadInput(f"store {self.root} holds {file} without the list of its units: restore {_list_of(file)}")
        return set(own).union(*lists.values())

    def files(self, cell: str = "*") -> list[str]:
        """The files that together hold each committed row once, in order: no unit's own where a compacted file has it."""
        own, compacted = self.own(cell), self.compacted(cell)  # in this order: else one could miss both
        lists = self.lists(cell) if compacted else {}
        merged = {unit for file in compacted for unit in lists.get(file, ())}
        return sorted([*compacted, *(file for unit, file in own.items() if unit not in merged)])

    def own(self, cell: str = "*") -> dict[str, str]:
        """The units that have a file of their own, {name: file}."""
        found = self.list(f"results/cell={cell}/*.parquet")
        return {path.stem: self._name(path) for path in found if not COMPACTED.fullmatch(path.stem)}

    def compacted(self, cell: str = "*") -> list[str]:
        """The compacted files."""
        found = self.list(f"results/cell={cell}/compacted-*.parquet")
        return [self._name(path) for path in found if COMPACTED.fullmatch(path.stem)]

    def lists(self, cell: str = "*") -> dict[str, list[str]]:
        """The units of each compacted file, {file: names}; it may not be there yet, nor the units' own be gone."""
        found = {}
        for path in self.list(f"compacted/cell={cell}/*.txt"):
            names = (self.read(self._name(path)) or b"").decode().split()
            found[f"results/{path.parent.name}/compacted-{path.stem}.parquet"] = names
        return found

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def list(self, pattern: str) -> Iterator[Path]:
        """Whole files that match, in order."""
        return iter(sorted(path for path in self.root.glob(pattern) if not path.name.startswith(".")))

    def listing(self, pattern: str) -> Iterator[tuple[str, float]]:
        """Names and times of change (seconds since 1970) of whole files that match FOLDER/*ENDING, in no order; a * in the
        folder stands for any folder. Made for millions."""
        folders, _, file = pattern.rpartition("/")
        for folder in self.root.glob(folders):
            ending, name = file.removeprefix("*"), folder.relative_to(self.root).as_posix()
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(ending) and not entry.name.startswith("."):
                        with suppress(FileNotFoundError):  # removed this moment
                            yield f"{name}/{entry.name}", entry.stat().st_mtime

    def head(self, name: str, size: int) -> bytes | None:
        """The first `size` bytes of a file, or None if it is not there."""
        try:
            with (self.root / name).open("rb") as file:
                return file.read(size)
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None if it is not there."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file unless it is there already; False if somebody was faster. Whole, durable, or absent."""
        target = self.root / name
        aside = self._aside(target, data)
        try:
            os.link(aside, target)
        except FileExistsError:
            return False
        finally:
            aside.unlink()
        _sync_folder(target.parent)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Writes a file in the place of what is there; a reader sees the old one or the new one, whole."""
        target = self.root / name
        os.replace(self._aside(target, data), target)
        _sync_folder(target.parent)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def _aside(self, target: Path, data: bytes) -> Path:
        aside = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise Refused(error.errno, f"{error.strerror}: {target}") from None
        return aside


def _list_of(file: str) -> str:
    """The list of a compacted file's units."""
    return file.replace("results/", "compacted/", 1).replace("compacted-", "").removesuffix(".parquet") + ".txt"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
