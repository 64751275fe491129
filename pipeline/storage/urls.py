"""Turn paths and URLs into folders of files, and patterns into the names of files."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import BadInput
from pipeline.parallel import map_ordered
from pipeline.storage.bucket import PATIENCE, Bucket
from pipeline.storage.disk import Disk
from pipeline.storage.files import Entry, Files

SCHEMES = ("s3", "gs", "az", "https", "http")

ANSWER_SECONDS = 15.0
"""Patience for requests while a user waits to learn whether the input is valid."""


def at(url: str | Path, patience: float = PATIENCE) -> Files:
    """Return the folder at a path or URL, which repeats failing requests for `patience` seconds. Raises BadInput."""
    url = str(url)
    if not _is_url(url):
        return Disk(url.removeprefix("file://"))
    settings = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    return _bucket(url, patience, tuple(sorted(settings.items())))


@lru_cache(maxsize=64)
def _bucket(url: str, patience: float, settings: tuple[tuple[str, str], ...]) -> Bucket:
    """Return the client for a URL and environment; its connections are reused."""
    return Bucket(url, patience)


def _is_url(url: str) -> bool:
    """Return whether this is a URL and not a path. Raises BadInput for an unknown scheme, a `pipe:` command, credentials."""
    if url.startswith("file://") or not ("://" in url or url.startswith("pipe:")):
        return False
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise BadInput(f"{url}: expected a path or a URL such as s3://bucket/folder, of {', '.join(SCHEMES)}")
    if parts.scheme.startswith("http") and parts.fragment:
        raise BadInput(f"{url} holds a #, after which a web server sees nothing: write %23 if it is part of a name")
    if "@" in parts.netloc or parts.query:
        clean = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise BadInput(f"{clean} holds credentials or a query: give the URL without them, and credentials in the environment")
    return True


def split(url: str) -> tuple[str, str]:
    """Return the folder of a file, and its name in it; in a web address %20 stands for a blank."""
    if _is_url(url):
        folder, _, name = url.rpartition("/")
        return folder, unquote(name) if url.startswith("http") else name
    return str(Path(url).parent), Path(url).name


def join(folder: str, name: str) -> str:
    """Return the path or URL of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if _is_url(folder) else str(Path(folder) / name)


def absolute(url: str) -> str:
    """Return a path as an absolute path, and a URL unchanged."""
    return url if _is_url(url) else str(Path(url).resolve())


def matching(files: Files, pattern: str) -> Iterator[Entry]:
    """Yield the files that match a pattern of `*` and `?`, sorted; neither matches a `/` or a leading dot."""
    for entries in map_ordered(lambda folder: sorted(_matches(files, folder, pattern)), _folders(files, pattern)):
        yield from entries


def scan(files: Files, pattern: str) -> Iterator[Entry]:
    """Yield the files that match a pattern, unsorted, holding no list of them in memory."""
    for folder in _folders(files, pattern):
        yield from _matches(files, folder, pattern)


def _folders(files: Files, pattern: str) -> list[str]:
    """Return the folders that may hold files that match a pattern."""
    folders = [""]
    for part in pattern.split("/")[:-1]:
        if _wild(part):
            inner = [path for folder in folders for path in files.folders(folder)]
            folders = [path for path in inner if fnmatchcase(path.rpartition("/")[2], part)]
        else:
            folders = [f"{folder}/{part}" if folder else part for folder in folders]
    return folders


def _matches(files: Files, folder: str, pattern: str) -> Iterator[Entry]:
    """Yield the files of one folder whose names match the last part of a pattern."""
    last = pattern.rpartition("/")[2]
    return (entry for entry in files.entries(folder) if fnmatchcase(entry.name.rpartition("/")[2], last))


def expand(url: str) -> list[str]:
    """Return the files that match a path or URL with `*`, `?` or `[...]` in its last part, sorted. Raises BadInput."""
    folder, name = split(url)
    if not _wild(name):
        return [url]
    if folder.startswith("http"):
        raise BadInput(f"{url}: a web server cannot list its files: write out their numbers, as in x-{{000000..000049}}.tar")
    return [join(folder, entry.name) for entry in matching(at(folder, ANSWER_SECONDS), name)]


def _wild(name: str) -> bool:
    """Return whether a name is a pattern."""
    return any(character in name for character in "*?[")
