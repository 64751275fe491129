"""The store: files that are whole or not there. What is done is what can be listed; nothing else remembers it.

campaign.yaml                           the resolved campaign, its shards and the identity of each cell
results/cell=<cell>/<unit>.parquet      committed once; its presence is "done"
results/cell=<cell>/compacted-<number>.parquet   the rows of many units, which are done too (`pipeline.store.compaction`)
compacted/cell=<cell>/<number>.txt      the names of these units, one a line; written before
checkpoints/<unit>.safetensors          the running attack; gone once committed
adversarial/cell=<cell>/<unit>.tar      8-bit PNG examples as WebDataset, same keys
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.planning.units import Unit
from pipeline.storage import urls
from pipeline.storage.bucket import PATIENCE
from pipeline.storage.files import Entry

ROWS = ".parquet"
"""The ending of files of rows."""

COMPACTED = re.compile(r"compacted-\d{6}")
"""Names of compacted files. No unit is called like that: all their names hold two hyphens in a row."""


class Store:
    """A folder on a local disk or NFS, or a prefix of a bucket by its URL. Raises BadInput for a URL that can not be one.

    Any method may raise `pipeline.errors.StorageError`, once `patience` seconds of trying again have passed.
    """

    def __init__(self, url: str | Path, patience: float = PATIENCE) -> None:
        self._files = urls.at(url, patience)

    @property
    def url(self) -> str:
        return self._files.url

    def results(self, unit: Unit) -> str:
        return f"results/cell={unit.cell}/{unit.name}.parquet"

    def adversarial(self, unit: Unit) -> str:
        return f"adversarial/cell={unit.cell}/{unit.name}.tar"

    def checkpoint(self, unit: Unit) -> str:
        return f"checkpoints/{unit.name}.safetensors"

    def done(self) -> set[str]:
        """The names of the committed units. Raises BadInput if it can not be known of which units compacted rows are."""
        found = set[str]()
        for _, stems in self._results("*"):  # before the lists: a unit's own file goes only after its name is in one
            found.update(stems)
        compacted, lists = self.compacted(), self.lists()
        for file in compacted:
            if file not in lists:
                raise BadInput(f"store {self.url} holds {file} without the list of its units: restore {_list_of(file)}")
        found.update(*lists.values())
        return found

    def files(self, cell: str = "*") -> list[str]:
        """The files that together hold each committed row once, in order: no unit's own where a compacted file has it."""
        own, compacted = self.own(cell), self.compacted(cell)  # in this order: else one could miss both
        lists = self.lists(cell) if compacted else {}
        merged = {unit for file in compacted for unit in lists.get(file, ())}
        return sorted([*compacted, *(file for unit, file in own.items() if unit not in merged)])

    def own(self, cell: str = "*") -> dict[str, str]:
        """The units that have a file of their own, {name: file}."""
        return {stem: f"{folder}/{stem}{ROWS}" for folder, stems in self._results(cell) for stem in stems}

    def compacted(self, cell: str = "*") -> list[str]:
        """The compacted files, in order."""
        found = self._results(cell, compacted=True)
        return sorted(f"{folder}/{stem}{ROWS}" for folder, stems in found for stem in stems)

    def lists(self, cell: str = "*") -> dict[str, list[str]]:
        """The units of each compacted file, {file: names}; it may not be there yet, nor the units' own be gone."""
        found = [entry.name for entry in self.list(f"compacted/cell={cell}/*.txt")]
        texts = map_ordered(self.read, found)
        return {_listed(name): (text or b"").decode().split() for name, text in zip(found, texts, strict=True)}

    def _results(self, cell: str, compacted: bool = False) -> Iterator[tuple[str, list[str]]]:
        """Folders of rows and what is in them, units' own files or compacted ones, without their ending; in no order. A million
        take seconds, and no more memory than their names."""

        def names(folder: str) -> tuple[str, list[str]]:
            found = (name[len(folder) + 1 : -len(ROWS)] for name in self._files.names(folder) if name.endswith(ROWS))
            return folder, [stem for stem in found if bool(COMPACTED.fullmatch(stem)) == compacted]

        every = self._files.folders("results") if cell == "*" else [f"results/cell={cell}"]
        return map_ordered(names, (folder for folder in every if folder.startswith("results/cell=")))

    def ready(self) -> None:
        """Raises BadInput unless files can be written, and created by one writer only. Leaves nothing behind."""
        self._files.ready()

    def sweep(self) -> None:
        """Removes what writers that died left aside; nobody sees it otherwise."""
        self._files.sweep()

    def list(self, pattern: str) -> Iterator[Entry]:
        """Whole files that match a pattern such as results/cell=*/*.parquet, in order."""
        return urls.matching(self._files, pattern)

    def scan(self, pattern: str) -> Iterator[Entry]:
        """The same in no order and one by one: made for millions."""
        return urls.scan(self._files, pattern)

    def entry(self, name: str) -> Entry | None:
        """Size and time of a file, or None if it is not there."""
        return self._files.entry(name)

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        """A file's bytes, or the first `stop` of them, or None if it is not there."""
        return self._files.read(name, stop)

    def open(self, name: str) -> BinaryIO:
        """A file to read and seek in, never whole in memory. Raises FileNotFoundError."""
        return self._files.open(name)

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file unless it is there already; False if somebody was faster. Whole, durable, or absent."""
        return self._files.create(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Writes a file in the place of what is there; a reader sees the old one or the new one, whole."""
        self._files.replace(name, data)

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        self._files.remove(name)


def _list_of(file: str) -> str:
    """The list of a compacted file's units."""
    return file.replace("results/", "compacted/", 1).replace("compacted-", "").removesuffix(".parquet") + ".txt"


def _listed(name: str) -> str:
    """The compacted file of a list."""
    folder, _, number = name.removesuffix(".txt").rpartition("/")
    return f"{folder.replace('compacted/', 'results/', 1)}/compacted-{number}.parquet"
