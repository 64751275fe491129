"""The store: files that are whole or not there. What is done is what can be listed; nothing else remembers it.

campaign.yaml                           the resolved campaign, its shards and the identity of each cell
results/cell=<cell>/<unit>.parquet      committed once; its presence is "done"
checkpoints/<unit>.safetensors          the running attack; gone once committed
adversarial/cell=<cell>/<unit>.tar      8-bit PNG examples as WebDataset, same keys
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.campaign import BadInput
from pipeline.plan import Unit


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
        """The names of the committed units."""
        return {path.stem for path in self.root.glob("results/cell=*/*.parquet")}

    def list(self, pattern: str) -> Iterator[Path]:
        """Whole files that match, in order."""
        return iter(sorted(path for path in self.root.glob(pattern) if not path.name.startswith(".")))

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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
