"""Read the samples of one shard. A damaged sample becomes a sample with a reason."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data import keys
from pipeline.data.pictures import ENDINGS
from pipeline.data.tars.listing import LABEL, Contents, Listed, scan, unused
from pipeline.data.tars.members import Member
from pipeline.data.tars.stream import HashingStream
from pipeline.errors import ShardUnusable

MAX_BYTES = 64 << 20
"""Larger images are refused before they are read."""

MAX_LABEL_BYTES = 1000
"""Larger files of labels are refused likewise."""

_NUMBER = re.compile(rb"\s*([0-9]{1,9})\s*")


@dataclass(frozen=True)
class Sample:
    """Hold one image of a shard: encoded bytes and label, or why it cannot be attacked.

    `status` is "ok", "bad_shard", "bad_key", "bad_image" or "bad_label"; `error` says in words what is wrong. `at` is where the
    bytes of the image begin in the unfolded tar, and how many they are; None where it has none that can be read. `sha256` is
    that of the image, where it was asked for.
    """

    key: str
    image: bytes = b""
    label: int = -1
    status: str = "ok"
    error: str = ""
    at: tuple[int, int] | None = field(default=None, compare=False)
    sha256: str = field(default="", compare=False)


Open = Callable[[], AbstractContextManager[HashingStream]]
"""Open the shard's file at its beginning."""


@dataclass(frozen=True)
class Found:
    """Hold what was read of a shard: samples, how many it has, its SHA-256, and what it holds besides, by kind; and whether it
    is gzipped. `every` are all of its samples without their images, with hashes, if these were asked for."""

    samples: list[Sample]
    count: int
    sha256: str
    fault: str
    unused: Mapping[str, int]
    folded: bool
    every: tuple[Sample, ...] = ()


def listed(opened: Open, expected: int) -> Found:
    """Return all samples of a shard without their images. One that ends early has `expected` samples, at least one more."""
    return _found(opened, None, expected)


def read(opened: Open, wanted: Collection[int], expected: int, hashes: bool = False) -> Found:
    """Return the samples at the places `wanted` of a shard, in its order; with `hashes` those of all images too.

    Memory holds no other image. Raises BadInput if a file stands in it twice; ShardUnusable if it changes while it is read.
    """
    return _found(opened, wanted, expected, hashes)


def _found(opened: Open, wanted: Collection[int] | None, expected: int, hashes: bool = False) -> Found:
    """Return what `listed` returns, or what `read` returns for the places `wanted`."""

    def keep(place: int, ending: str, file: Member) -> bool:
        here = wanted is None or place in wanted or (hashes and ending == LABEL)
        return here and _fits(ending, file, wanted)

    with opened() as stream:
        contents = scan(stream, keep, lambda place, ending, file: hashes and ending != LABEL and _fits(ending, file, wanted))
        url, sha256 = stream.url, stream.digest.hexdigest()
    every = contents.samples()
    chosen = [(i, sample) for i, sample in enumerate(every) if wanted is None or i in wanted]
    resolved = contents.resolver()
    needed = {f.number for _, s in chosen for f in _needed(s, resolved, wanted)}
    labels = {f.number for s in every for f in _needed(s, resolved, None)} if hashes else set()
    _complete(opened, contents, needed | labels, sha256)
    names = _names(every)
    found = [_sample(names[i], sample, contents, resolved, wanted is None) for i, sample in chosen]
    count = len(every)
    if contents.fault:
        count = max(expected, len(every) + 1)
        lost = (i for i in range(len(every), count) if wanted is None or i in wanted)
        found += [Sample(f"{Path(url).name}#{i}", status="bad_shard", error=contents.fault) for i in lost]
    without = (_sample(name, sample, contents, resolved, True) for name, sample in zip(names, every, strict=True))
    all_of_them = tuple(without) if hashes and not contents.fault else ()
    return Found(found, count, sha256, contents.fault, unused(contents, every), contents.folded, all_of_them)


def _fits(ending: str, file: Member, wanted: Collection[int] | None) -> bool:
    """Return whether the bytes of a file are kept: a label, or an image where images are wanted, of a reasonable size."""
    if ending == LABEL:
        return file.size <= MAX_LABEL_BYTES
    return wanted is not None and ending in ENDINGS and file.size <= MAX_BYTES


def _needed(sample: Listed, resolved: Callable[[Member], Member | None], wanted: Collection[int] | None) -> Iterator[Member]:
    """Yield the files whose bytes a sample needs: its label, and its image where images are wanted."""
    for ending, file in ((LABEL, sample.label), (next(iter(ENDINGS)), sample.image)):
        own = resolved(file) if file else None
        if own and not own.sparse and _fits(ending, own, wanted):
            yield own


def _complete(opened: Open, contents: Contents, needed: set[int], sha256: str) -> None:
    """Read once more what is missing: the targets of links, and samples whose place was known only at the end."""
    missing = needed - contents.kept.keys()
    if missing:
        with opened() as stream:
            contents.kept |= scan(stream, lambda place, ending, file: file.number in missing).kept
            if stream.digest.hexdigest() != sha256:
                raise ShardUnusable(f"shard {stream.url} changed while it was read: restore it")


def _names(samples: Iterable[Listed]) -> list[str]:
    """Return the keys of samples as rows hold them: no two alike."""
    names: dict[str, None] = {}
    for place, sample in enumerate(samples):
        name = keys.shown(sample.key)
        while name in names:
            name += f"#{place}"
        names[name] = None
    return list(names)


def _sample(
    name: str, listed: Listed, contents: Contents, resolved: Callable[[Member], Member | None], without_image: bool
) -> Sample:
    """Return a sample with its status; the image is not decoded yet."""
    if wrong := keys.fault(listed.key):
        return Sample(name, status="bad_key", error=f"{wrong}: rename it")
    if listed.image is None:
        endings = ", ".join(f".{ending}" for ending in ENDINGS)
        return Sample(name, status="bad_image", error=f"no image: expected a member {name} with the ending {endings}")
    image, wrong = _bytes(listed.image, contents, resolved, MAX_BYTES, without_image)
    if wrong:
        return Sample(name, status="bad_image", error=wrong)
    own = resolved(listed.image)
    at = (own.at, own.size) if own else None
    sha256 = contents.hashes.get(own.number, "") if own else ""
    if listed.label is None:
        return Sample(name, status="bad_label", error=f"no label: expected a small member {name}.{LABEL}", at=at)
    text, wrong = _bytes(listed.label, contents, resolved, MAX_LABEL_BYTES)
    if wrong:
        return Sample(name, status="bad_label", error=wrong, at=at)
    number = _NUMBER.fullmatch(text)
    if not number:
        return Sample(name, status="bad_label", error=f"{text[:20]!r} is no class number: expected 0, 1, 2 and so on", at=at)
    return Sample(name, image, int(number[1]), at=at, sha256=sha256)


def _bytes(
    file: Member, contents: Contents, resolved: Callable[[Member], Member | None], most: int, unread: bool = False
) -> tuple[bytes, str]:
    """Return the bytes of a file, or why there are none; `unread` files have none, and that is no fault."""
    own = resolved(file)
    if own is None:
        target = keys.shown(file.link or "")
        return (
            b"",
            f"{keys.shown(file.name)} is a link to {f'{target}, which the shard does not hold' if target else 'nothing'}",
        )
    if own.size > most:
        return b"", f"{own.size} bytes, more than {most}"
    if own.sparse:
        return b"", f"{keys.shown(own.name)} is a sparse file, expected one that is stored whole"
    return (b"" if unread else contents.kept[own.number]), ""
