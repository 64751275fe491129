"""Write labelled image files as shards, with an index of counts and hashes to check them by, and the names of the classes."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from pipeline.data import index, keys, listings, samples
from pipeline.data.index import Indexed
from pipeline.data.pack import classes as names
from pipeline.data.pack.classes import Classes
from pipeline.data.pack.files import endings
from pipeline.data.samples import MAX_BYTES
from pipeline.data.tars.stream import HashingStream
from pipeline.data.tars.writing import packed
from pipeline.errors import BadInput
from pipeline.storage import urls

Keyed = tuple[str, Path, int]
"""The key of an image, its file and its class."""


def photographs() -> Path:
    """Return the folder of foolbox with 20 labelled ImageNet photographs (imagenet_00_243.jpg: class 243). Raises BadInput."""
    try:
        import foolbox
    except ImportError:
        raise BadInput("the demo's photographs come with foolbox: pip install 'barrage[demo]'") from None
    return Path(foolbox.__file__).parent / "data"


def pack(
    images: Sequence[tuple[Path, int]],
    folder: str | Path,
    prefix: str = "images",
    per_shard: int = 1000,
    classes: Classes | None = None,
) -> list[str]:
    """Write shards PREFIX-000000.tar, ... and their index; return their paths or URLs. The same files give the same bytes.

    images   image files with their classes
    folder   path or URL
    classes  names of the classes, to keep beside the shards; default: none
    Raises BadInput for an unusable file; StorageError if the folder or bucket cannot be written to.
    """
    found, url, written = keyed(images), str(folder), dict[str, Indexed]()
    target = urls.at(folder)
    target.ready()
    index.read(url)  # before anything is written: it may be damaged
    if classes:
        names.store(url, classes)
    for number, first in enumerate(range(0, len(found), per_shard)):
        group, name = found[first : first + per_shard], f"{prefix}-{number:06d}.tar"
        data = packed(members(group))
        target.replace(name, data)
        labels, listing = [label for *_, label in group], _listed(name, data)
        target.replace(name + listings.ENDING, listing)
        written[name] = Indexed(
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            images=len(group),
            labels=[min(labels), max(labels)],
            listing=hashlib.sha256(listing).hexdigest(),
        )
    index.add(url, written)
    target.sweep()
    return [urls.join(url, name) for name in written]


def _listed(name: str, tar: bytes) -> bytes:
    """Return the listing of a shard, given its bytes."""
    listing = listings.made(samples.read(lambda: nullcontext(HashingStream(io.BytesIO(tar), name)), (), 0, hashes=True))
    assert listing, f"{name} was written as a plain tar, and is none"
    return listings.encode(listing)


def keyed(images: Sequence[tuple[Path, int]]) -> list[Keyed]:
    """Return the images with their keys: the files' names without ending, with their folders where names repeat.

    A dot in a key becomes `_`: other readers of WebDataset would end the key there. Raises BadInput.
    """
    stems = Counter(file.stem for file, _ in images)
    root = Path(os.path.commonpath([file.parent for file, _ in images])) if images else Path()
    found: dict[str, Keyed] = {}
    for file, label in images:
        path = file.relative_to(root).with_suffix("").as_posix() if max(stems.values()) > 1 else file.stem
        key = path.replace(".", "_")
        if wrong := keys.fault(key):
            raise BadInput(f"file {keys.shown(str(file))}: {wrong}: rename it")
        if key in found:
            raise BadInput(f"the key {key!r} of {file} is not unique, {found[key][1]} has it too: rename one")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise BadInput(f"{file} has {size} bytes, more than {MAX_BYTES}: an image of a shard may not have more")
        found[key] = key, file, label
    return list(found.values())


def members(images: Sequence[Keyed]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of images and labels, (name, content). Raises BadInput for a file that cannot be read."""
    known = endings()
    for key, file, label in images:
        try:
            yield f"{key}.{known.get(file.suffix.lower(), 'jpg')}", file.read_bytes()  # what a table names may end otherwise
        except OSError as error:
            raise BadInput(f"{keys.shown(str(file))} cannot be read: {error.strerror}") from None
        yield f"{key}.cls", str(label).encode()
