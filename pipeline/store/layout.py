"""Name the files of a store, and say which of them are there. A file is whole or absent; nothing else records what is done.

campaign.yaml                           the resolved campaign, its shards and the identity of each cell
units/<cell>.json                       how the images of a cell are cut into units
results/<unit>.parquet                  the rows of a unit, committed once; the file's presence means "done"
sealed/<cell>--<count>-<digest>.parquet   a copy of all rows of a cell in one file (`pipeline.store.sealed`)
checkpoints/<unit>.safetensors          the running attack; removed after the commit
shards/<shard>.json                     where the images of a shard lie (`pipeline.data.listings`)
adversarial/cell=<cell>/<unit>.tar      8-bit PNG examples as WebDataset, same keys
tracking.json                           the id of the tracked run (`pipeline.tracking.settings`)

All files of rows lie in one folder, and hold every column themselves. So every reader of Parquet sees the same columns of the
same types: none has to learn a column from the name of a folder, whose type each guesses in its own way. Stores whose rows lie
in results/cell=<cell>/, as release 0.1 wrote them, are read and resumed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pipeline.parallel import map_ordered
from pipeline.planning.units import Unit
from pipeline.storage import urls
from pipeline.storage.bucket import PATIENCE
from pipeline.storage.files import Entry, Pieces
from pipeline.store import compacted

ROWS = ".parquet"
"""The ending of files of rows."""

_FOLDER = "results"
EARLIER = "results/cell="
"""The beginning of the folders in which release 0.1 kept the rows of each cell."""


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
        return f"{_FOLDER}/{unit.name}{ROWS}"

    def adversarial(self, unit: Unit) -> str:
        """Return the name of the shard with a unit's examples."""
        return f"adversarial/cell={unit.cell}/{unit.name}.tar"

    def checkpoint(self, unit: Unit) -> str:
        """Return the name of a unit's first checkpoint."""
        return f"checkpoints/{unit.name}.safetensors"

    def done(self) -> set[str]:
        """Return the names of the committed units. Raises BadInput for a damaged compacted file of release 0.1."""
        return set(self.unit_files())

    def unit_files(self) -> dict[str, str]:
        """Return the file that holds each committed unit's rows: its own, or a compacted one of release 0.1.

        A million names take seconds. Raises BadInput for a damaged compacted file.
        """
        files = {stem_of(name): name for name in self._names() if not compacted.is_compacted(stem_of(name))}
        return files | self.merged()

    def merged(self) -> dict[str, str]:
        """Return the compacted file of release 0.1 that holds each unit's rows; empty for any store of a later release."""
        folders = self._earlier()
        files = [name for names in map_ordered(self._compacted, folders) for name in names]
        return {unit: file for file in files for unit in compacted.units(urls.join(self.url, file), self.read(file))}

    def has_rows(self) -> bool:
        """Return whether the store holds any file of rows, of any program."""
        return next(self._names(), None) is not None

    def some(self, count: int) -> list[str]:
        """Return the names of up to `count` files of rows, spread evenly over cells and shards."""
        names = sorted(self._names(), key=stem_of)
        return names[:: max(1, len(names) // count)][:count]

    def entries(self) -> Iterator[Entry]:
        """Yield every file of rows with size and time, one at a time: first those in folders of release 0.1."""
        return chain(self.scan(f"{EARLIER}*/*{ROWS}"), self.scan(f"{_FOLDER}/*{ROWS}"))

    def sealed(self) -> set[str]:
        """Return the names of the sealed copies, of the present rows and of earlier ones."""
        return {name for name in self._files.names("sealed") if name.endswith(ROWS)}

    def _names(self) -> Iterator[str]:
        """Yield the names of all files of rows, in no order."""
        folders = [_FOLDER, *self._earlier()]
        return (name for folder in folders for name in self._files.names(folder) if name.endswith(ROWS))

    def _earlier(self) -> list[str]:
        return [folder for folder in self._files.folders(_FOLDER) if folder.startswith(EARLIER)]

    def _compacted(self, folder: str) -> list[str]:
        return [name for name in self._files.names(folder) if compacted.is_compacted(stem_of(name))]

    def ready(self) -> None:
        """Raise BadInput unless files can be written, and created by one of two writers only. Leaves nothing behind."""
        self._files.ready()

    def sweep(self) -> None:
        """Remove the unfinished files of writers that died; no listing shows them."""
        self._files.sweep()

    def list(self, pattern: str) -> Iterator[Entry]:
        """Yield the whole files that match a pattern such as units/*.json, in order."""
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

    def replace(self, name: str, data: bytes | Pieces) -> None:
        """Write a file in place of an earlier one; a reader sees the old or the new one, whole. Large ones come in pieces."""
        self._files.replace(name, data)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self._files.remove(name)


def stem_of(file: str) -> str:
    """Return the name of a file of rows without folder and ending: of a unit's own file, the name of the unit."""
    return file.rpartition("/")[2].removesuffix(ROWS)


def is_sealed(path: str) -> bool:
    """Return whether a file of rows is a sealed copy, given its name in a store, its path or its URL."""
    return path.rpartition("/")[0].rpartition("/")[2] == "sealed"


def sealed_name(cell: str, sources: Sequence[str]) -> str:
    """Return the name of the sealed copy of these files of a cell: their count, and the hash of their sorted names."""
    names = sorted(source.rpartition("/")[2] for source in sources)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return f"sealed/{cell}--{len(names)}-{digest}{ROWS}"
