"""Where files are: a path or a URL becomes a folder to read and write in, and patterns become names."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.storage.bucket import PATIENCE, Bucket
from pipeline.storage.disk import Disk
from pipeline.storage.files import Entry, Files

SCHEMES = ("s3", "gs", "az", "https", "http")

ANSWER_SECONDS = 15.0
"""Seconds of patience while a person waits to hear whether the input is good."""


def at(url: str | Path, patience: float = PATIENCE) -> Files:
    """The folder at a path or URL. Raises BadInput for a URL that can not be one."""
    url = str(url)
    if not _is_url(url):
        return Disk(url.removeprefix("file://"))
    settings = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    return _bucket(url, patience, tuple(sorted(settings.items())))


@lru_cache(maxsize=64)
def _bucket(url: str, patience: float, settings: tuple[tuple[str, str], ...]) -> Bucket:
    """One client, with its connections, for each URL and environment."""
    return Bucket(url, patience)


def _is_url(url: str) -> bool:
    """Whether it is a URL, and not a path. Raises BadInput for a URL that is none of a service, and for a command."""
    if url.startswith("file://") or not ("://" in url or url.startswith("pipe:")):
        return False
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise BadInput(f"{url}: expected a path or a URL such as s3://bucket/folder, of {', '.join(SCHEMES)}")
    if "@" in parts.netloc or parts.query:
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise BadInput(f"{place} holds credentials or a query: give the URL without, and credentials in the environment")
    return True


def split(url: str) -> tuple[str, str]:
    """The folder of a file, and its name in it."""
    if _is_url(url):
        folder, _, name = url.rpartition("/")
        return folder, name
    return str(Path(url).parent), Path(url).name


def join(folder: str, name: str) -> str:
    """The path or URL of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if _is_url(folder) else str(Path(folder) / name)


def absolute(url: str) -> str:
    """A path as it is known everywhere on the machine; a URL as it is."""
    return url if _is_url(url) else str(Path(url).resolve())


def matching(files: Files, pattern: str) -> Iterator[Entry]:
    """The files that match a pattern of `*` and `?`, in order; neither stands for a `/` or a first dot."""
    for some in map_ordered(lambda folder: sorted(_among(files, folder, pattern)), _folders(files, pattern)):
        yield from some


def scan(files: Files, pattern: str) -> Iterator[Entry]:
    """The files that match a pattern, in no order and with none of them held in memory."""
    for folder in _folders(files, pattern):
        yield from _among(files, folder, pattern)


def _folders(files: Files, pattern: str) -> list[str]:
    """The folders that hold what matches a pattern."""
    found = [""]
    for part in pattern.split("/")[:-1]:
        if _wild(part):
            inner = [path for folder in found for path in files.folders(folder)]
            found = [path for path in inner if fnmatchcase(path.rpartition("/")[2], part)]
        else:
            found = [f"{folder}/{part}" if folder else part for folder in found]
    return found


def _among(files: Files, folder: str, pattern: str) -> Iterator[Entry]:
    last = pattern.rpartition("/")[2]
    return (entry for entry in files.entries(folder) if fnmatchcase(entry.name.rpartition("/")[2], last))


def expand(url: str) -> list[str]:
    """The files that a pattern of `*`, `?` and `[...]` in the last part of a path or URL stands for, in order."""
    folder, name = split(url)
    if not _wild(name):
        return [url]
    if folder.startswith("http"):
        raise BadInput(f"{url}: a web server can not be asked for its files: write them out, as in x-{{000000..000049}}.tar")
    return [join(folder, entry.name) for entry in matching(at(folder, ANSWER_SECONDS), name)]


def _wild(name: str) -> bool:
    return any(character in name for character in "*?[")
