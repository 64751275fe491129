"""Find the image files below a folder, and count what else is there, so that nothing is left out in silence."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from pipeline.data.keys import shown
from pipeline.data.pictures import ENDINGS, formats
from pipeline.errors import BadInput

NAMED = 3
"""Files that are named of each kind that is passed over."""


@dataclass
class Passed:
    """Hold the files that are passed over, by the reason."""

    files: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, reason: str, file: Path) -> None:
        """Count one more."""
        self.files.setdefault(reason, []).append(file)

    def said(self) -> Iterator[str]:
        """Yield one line for each reason."""
        for reason, files in sorted(self.files.items()):
            names = ", ".join(shown(file.name) for file in files[:NAMED])
            yield f"passed over: {reason} ({len(files)}): {names}{', ...' if len(files) > NAMED else ''}"


def endings() -> Mapping[str, str]:
    """Return the endings of image files that this Pillow decodes, with a dot, and the ending in a shard of each."""
    return {f".{ending}": "jpg" if kind == "JPEG" else ending for ending, kind in ENDINGS.items() if kind in formats()}


def images(folder: Path, passed: Passed, pattern: str = "*") -> list[Path]:
    """Return the image files in a folder and all folders below it, sorted by path; hidden ones do not count.

    passed   where other files are counted; those whose name does not match `pattern` are not
    Raises BadInput for a folder that cannot be read.
    """
    found = []
    for file in _files(folder):
        if not fnmatch(file.name, pattern):
            continue
        if not file.exists():
            passed.add("broken links", file)
        elif file.suffix.lower() in endings() and file.is_file():
            found.append(file)
        else:
            passed.add(f"files with the ending {shown(file.suffix) or 'none'}", file)
    return sorted(found)


def folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted as text; hidden ones do not count. Raises BadInput."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from None


def beside(folder: Path, passed: Passed) -> None:
    """Count the image files that stand in a folder itself, beside the folders of the classes."""
    for entry in os.scandir(folder):
        if not entry.name.startswith(".") and not entry.is_dir():
            passed.add("files beside the folders of the classes", Path(entry.path))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below; links to folders are followed, but to none that is entered or around it."""
    seen = {str(parent) for parent in Path(os.path.realpath(folder)).parents}

    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error)

    for root, inner, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _unreadable(folder: Path, error: OSError) -> BadInput:
    return BadInput(f"{shown(str(error.filename or folder))} cannot be read: {error.strerror}")
