"""List the kinds of shards, by the ending of their paths. A new kind is its module and its line here."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from pipeline.data.pack.classes import Classes, stored
from pipeline.data.sources import arrays, files, parquet
from pipeline.data.tars.stream import Readable
from pipeline.errors import BadInput
from pipeline.storage import urls


class Kind(NamedTuple):
    """Say how a kind of shard is read. Its labels may be words, which are looked up in the classes that are given.

    size     returns its bytes, from (path, classes), to notice changes; raises BadInput if it does not exist
    opened   opens it, from (path, bytes, classes), as a tar of images and labels
    classes  returns the classes that are kept with it, from (path, classes); None where they are not known
    indexed  whether files beside it may describe it: an index, names of classes
    """

    size: Callable[[str, Classes | None], int]
    opened: Callable[[str, int, Classes | None], AbstractContextManager[Readable]]
    classes: Callable[[str, Classes | None], Classes | None] = lambda url, classes: None
    indexed: bool = False


def size_of_file(url: str, classes: Classes | None = None) -> int:
    """Return the bytes of a file. Raises BadInput if it does not exist."""
    if os.path.isdir(url):
        raise BadInput(f"shard {url} is a folder: name the files in it, {url}/*.tar, or give `folder` instead of `shards`")
    folder, file_name = urls.split(url)
    entry = urls.at(folder, urls.ANSWER_SECONDS).entry(file_name)
    if entry is None:
        raise BadInput(f"shard {url} does not exist: check the pattern, or write shards with `barrage pack`")
    return entry.bytes


@contextmanager
def tar(url: str, size: int, classes: Classes | None) -> Iterator[Readable]:
    """Open a tar."""
    folder, file_name = urls.split(url)
    with urls.at(folder).open(file_name, size) as file:
        yield file


def beside(url: str, classes: Classes | None) -> Classes | None:
    """Return the classes that `barrage pack` stored beside a tar. Raises BadInput."""
    return stored(urls.split(url)[0])


TAR = Kind(size_of_file, tar, beside, indexed=True)
KINDS = {
    ".tar": TAR,
    ".tar.gz": TAR,
    ".tgz": TAR,
    ".parquet": Kind(size_of_file, parquet.opened, parquet.classes),
    ".npz": Kind(size_of_file, arrays.opened),
    ".npy": Kind(size_of_file, arrays.opened),
    ".folder": Kind(files.size, files.opened, files.classes_of),
    ".table": Kind(files.size, files.opened, files.classes_of),
}


def of(url: str) -> Kind:
    """Return the kind of a shard; one whose path has another ending is a tar."""
    return next((kind for ending, kind in KINDS.items() if url.endswith(ending)), TAR)


def without_ending(name: str) -> str:
    """Return the name of a shard's file without the ending of its kind."""
    return next((name.removesuffix(ending) for ending in KINDS if name.endswith(ending)), name)
