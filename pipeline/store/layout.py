"""Name the files of a store, and say which of them are there. A file is whole or absent; nothing else records what is done.

campaign.yaml                           the resolved campaign, its shards and the identity of each cell
results/cell=<cell>/<unit>.parquet      the rows of a unit, committed once; the file's presence means "done"
sealed/cell=<cell>/<count>-<digest>.parquet   a copy of all rows of a cell in one file (`pipeline.store.sealed`)
checkpoints/<unit>.safetensors          the running attack; removed after the commit
adversarial/cell=<cell>/<unit>.tar      8-bit PNG examples as WebDataset, same keys
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pipeline.parallel import map_ordered
from pipeline.planning.units import Unit
from pipeline.storage import urls
from pipeline.storage.bucket import PATIENCE
from pipeline.storage.files import Entry
from pipeline.store import compacted

ROWS = ".parquet"
"""The ending of files of rows."""


class Store:
    """Hold a folder on a local disk or NFS, or a prefix of a bucket by its URL. Raises BadInput for a URL that cannot be one.

    Any method may raise `pipeline.errors.StorageError`, after `patience` seconds of retries.
    """

    def __init__(self, url: str | Path, patience: float = PATIENCE) -> None:
        self._files = urls.at(url, patience)

    @property
    def url(self) -> str:
        """Return the path or URL of the store."""
        return self._files.url

    def results(self, unit: Unit) -> str:
        """Return the name of a unit's file of rows."""
        return f"results/cell={unit.cell}/{unit.name}{ROWS}"

    def adversarial(self, unit: Unit) -> str:
        """Return the name of the shard with a unit's examples."""
        return f"adversarial/cell={unit.cell}/{unit.name}.tar"

    def checkpoint(self, unit: Unit) -> str:
        """Return the name of a unit's first checkpoint."""
        return f"checkpoints/{unit.name}.safetensors"

    def cells(self) -> list[str]:
        """Return the cells that have a folder of rows, in order."""
        folders = self._files.folders("results")
        return [folder.removeprefix("results/cell=") for folder in folders if folder.startswith("results/cell=")]

    def done(self) -> set[str]:
        """Return the names of the committed units. Raises BadInput for a damaged compacted file of release 0.1."""
        listed = self._listed("*")
        units = {stem for stems in listed.values() for stem in stems if not compacted.is_compacted(stem)}
        return units.union(self._merged(listed))

    def files(self, cell: str = "*") -> list[str]:
        """Return the files that together hold each committed row once, in order: of a sealed cell its copy alone."""
        sealed = self.sealed(cell)
        found: list[str] = []
        for name, sources in self.sources(cell).items():
            copy = sealed_name(name, sources) if sealed else ""
            found += [copy] if copy in sealed else sources
        return found

    def sources(self, cell: str = "*") -> dict[str, list[str]]:
        """Return the files in results/ that together hold each committed row once, by cell, in order."""
        listed = self._listed(cell)
        merged = self._merged(listed)
        found = {name: [stem for stem in stems if stem not in merged] for name, stems in listed.items()}
        return {name: sorted(f"results/cell={name}/{stem}{ROWS}" for stem in stems) for name, stems in found.items() if stems}

    def sealed(self, cell: str = "*") -> set[str]:
        """Return the names of the sealed copies, of the present rows and of earlier ones."""
        every = self._files.folders("sealed") if cell == "*" else [f"sealed/cell={cell}"]
        return {name for folder in every for name in self._files.names(folder) if name.endswith(ROWS)}

    def some(self, cell: str, count: int) -> list[str]:
        """Return the names of up to `count` files of a cell's rows, any ones: without a listing of all the others."""
        found = (name for name in self._files.names(f"results/cell={cell}") if name.endswith(ROWS))
        return [name for name, _ in zip(found, range(count), strict=False)]

    def merged(self, cell: str = "*") -> dict[str, str]:
        """Return the compacted file of release 0.1 that holds each unit's rows; empty for any store of a later release."""
        return self._merged(self._listed(cell))

    def _merged(self, listed: Mapping[str, Sequence[str]]) -> dict[str, str]:
        files = [
            f"results/cell={name}/{stem}{ROWS}"
            for name, stems in listed.items()
            for stem in stems
            if compacted.is_compacted(stem)
        ]
        return {unit: file for file in files for unit in compacted.units(urls.join(self.url, file), self.read(file))}

    def _listed(self, cell: str) -> dict[str, Sequence[str]]:
        """Return the files of rows of each cell, without their ending, in no order. A million names take seconds."""

        def stems(name: str) -> Sequence[str]:
            folder = f"results/cell={name}"
            return [file[len(folder) + 1 : -len(ROWS)] for file in self._files.names(folder) if file.endswith(ROWS)]

        every = self.cells() if cell == "*" else [cell]
        return dict(zip(every, map_ordered(stems, every), strict=True))

    def ready(self) -> None:
        """Raise BadInput unless files can be written, and created by one of two writers only. Leaves nothing behind."""
        self._files.ready()

    def sweep(self) -> None:
        """Remove the unfinished files of writers that died; no listing shows them."""
        self._files.sweep()

    def list(self, pattern: str) -> Iterator[Entry]:
        """Yield the whole files that match a pattern such as results/cell=*/*.parquet, in order."""
        return urls.matching(self._files, pattern)

    def scan(self, pattern: str) -> Iterator[Entry]:
        """Yield the same files in no order and one at a time: made for millions."""
        return urls.scan(self._files, pattern)

    def entry(self, name: str) -> Entry | None:
        """Return the size and time of a file, or None if it is absent."""
        return self._files.entry(name)

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        """Return a file's bytes, or the first `stop` of them, or None if it is absent."""
        return self._files.read(name, stop)

    def open(self, name: str) -> BinaryIO:
        """Open a file to read and seek in, never whole in memory. Raises FileNotFoundError."""
        return self._files.open(name)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; return False if another writer was faster. It is whole and durable, or absent."""
        return self._files.create(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file in place of an earlier one; a reader sees the old one or the new one, whole."""
        self._files.replace(name, data)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self._files.remove(name)


def sealed_name(cell: str, sources: Sequence[str]) -> str:
    """Return the name of the sealed copy of these files of a cell: their count, and the hash of their sorted names."""
    names = sorted(source.rpartition("/")[2] for source in sources)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return f"sealed/cell={cell}/{len(names)}-{digest}{ROWS}"
