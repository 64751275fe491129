"""Find, inspect and read the WebDataset shards of a campaign."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from pipeline.config.campaign import Data
from pipeline.data import index, listings, samples
from pipeline.data.decoding import decode
from pipeline.data.index import INDEX
from pipeline.data.listings import Listing
from pipeline.data.pack.classes import Classes, given
from pipeline.data.samples import Found, Sample
from pipeline.data.sources import files, kinds
from pipeline.data.tars.stream import HashingStream
from pipeline.errors import BadInput, ShardUnusable, StorageError
from pipeline.parallel import map_ordered
from pipeline.storage import urls

__all__ = ["INDEX", "Sample", "Shard", "classes", "decode", "glance", "imagined", "inspect", "listed", "name", "paths", "read"]

Report = Callable[[str], None]
"""Show one line to a person."""

BRIEFLY = 15.0
"""Seconds for which failing requests of a shortcut are repeated: to read the whole shard has more patience."""


@dataclass(frozen=True)
class Shard:
    """Describe a shard as it was when it entered the campaign.

    `images` counts damaged samples too; `labels` are the smallest and the largest; `classes` those that words as labels stand
    for, which a store keeps once for all its shards; `listing` is the SHA-256 of the listing beside the shard, if any.
    """

    url: str
    sha256: str
    bytes: int
    images: int
    labels: tuple[int, int]
    classes: Classes | None = None
    listing: str | None = None

    @property
    def name(self) -> str:
        """Return the file's name without its ending, as units use it."""
        return name(self.url)

    def described(self) -> dict[str, Any]:
        """Return what a store keeps of the shard, as plain values."""
        plain = {"url": self.url, "sha256": self.sha256, "bytes": self.bytes, "images": self.images, "labels": [*self.labels]}
        return plain | ({"listing": self.listing} if self.listing else {})

    @classmethod
    def of(cls, described: Mapping[str, Any], classes: Classes | None) -> "Shard":
        """Return a shard from what a store keeps of it. Raises KeyError, TypeError for something else."""
        return cls(**{**described, "labels": tuple(described["labels"]), "classes": classes})


def name(url: str) -> str:
    """Return the name of the shard at a path or URL: the file's name without the ending of its kind."""
    return kinds.without_ending(urls.split(url)[1])


def paths(data: Data, report: Report = lambda line: None) -> dict[str, int]:
    """Return {absolute path or URL: bytes} of a campaign's shards, in order.

    `report` shows a person one line about what is passed over; default: nothing is shown.
    Raises BadInput for a pattern without a match, a missing shard, or two shards of one name; StorageError.
    """
    known = given(data.classes)
    found = _files(data) if data.shards else _places(data, known, report)
    for shard, count in Counter(map(name, found)).items():
        if count > 1:
            raise BadInput(f"two shards are called {shard}: rename one, since rows refer to shards by name")
    return dict(zip(found, map_ordered(lambda url: kinds.of(url).size(url, known), found), strict=True))


def _files(data: Data) -> list[str]:
    """Return the shards that are files of their own. Raises BadInput."""
    found: list[str] = []
    for pattern in data.shards:
        for url in braceexpand(pattern):
            matches = urls.expand(url)
            if not matches:
                raise BadInput(f"shards {pattern!r} match no file: check the pattern, or write shards with `barrage pack`")
            found += map(urls.absolute, matches)
    return found


def _places(data: Data, known: Classes | None, report: Report) -> list[str]:
    """Return the shards that a folder or a table of images is cut into. Raises BadInput."""
    found, listed = files.shards(data.folder or data.table or "", ".folder" if data.folder else ".table", known)
    for line in listed.notes:
        report(line)
    return found


def classes(data: Data, found: Iterable[str]) -> list[str] | None:
    """Return the lines of the classes of a campaign's shards, by label: those that its data give, else those that are kept
    with the shards; None if they are not known.

    Raises BadInput if two shards have other names for a label: then the label is not one class.
    """
    known = given(data.classes)
    if known and data.shards:
        return known.lines
    places = {(urls.split(url)[0] if kinds.of(url).indexed else url): url for url in found}
    each = zip(places, map_ordered(lambda url: kinds.of(url).classes(url, known), places.values()), strict=True)
    kept = {place: own for place, own in each if own}
    longest = max(kept, key=lambda place: len(kept[place].every), default="")
    for place, own in kept.items():
        for label, (name, other) in enumerate(zip(own.names, kept[longest].names, strict=False)):
            if name != other:
                raise BadInput(
                    f"class {label} is {name!r} in the shards of {place}, {other!r} in those of {longest}: use shards "
                    "with the same classes"
                )
    return kept[longest].lines if longest else None


def imagined(data: Data, images: int) -> dict[str, Shard]:
    """Return a campaign's shards by name without opening them, `images` spread evenly: to plan without the data."""
    urls = [url for place in data.places.values() for url in braceexpand(place)]
    counts = (images * (i + 1) // len(urls) - images * i // len(urls) for i in range(len(urls)))
    return {name(url): Shard(url, "", 0, count, (0, 0)) for url, count in zip(urls, counts, strict=True)}


def inspect(url: str | Path, report: Report = lambda line: None, classes: Classes | None = None) -> Shard:
    """Return the description of a shard: from the index beside it, else by reading it once from end to end.

    report   shows a person one line about what the shard holds besides its samples; default: nothing is shown
    classes  those that words as labels stand for; default: none
    Raises BadInput if the shard holds a file twice or differs from the index; StorageError.
    """
    url = urls.absolute(str(url))
    folder, file_name = urls.split(url)
    kind = kinds.of(url)
    indexed = index.read(folder).get(file_name) if kind.indexed else None
    size = kind.size(url, classes)
    if indexed and indexed.bytes == size and indexed.images:  # one without images would never be read, so nor checked
        low, high = indexed.labels
        return Shard(url, indexed.sha256, size, indexed.images, (low, high), listing=indexed.listing)
    found = samples.listed(lambda: opened(url, size, classes), indexed.images if indexed else 0)
    if indexed and not found.fault and (found.sha256, found.count) != (indexed.sha256, indexed.images):
        raise BadInput(f"shard {url} is not the one in its {INDEX}: restore it, or remove the index to accept it as it is")
    if found.unused:
        others = ", ".join(f"{count} {what}" for what, count in sorted(found.unused.items()))
        report(f"shard {url}: {found.count} samples; passed over: {others}")
    labels = [sample.label for sample in found.samples if sample.status == "ok"]
    return Shard(url, found.sha256, size, found.count, (min(labels, default=0), max(labels, default=0)), classes)


def read(shard: Shard, wanted: Collection[int]) -> list[Sample]:
    """Return the samples at the positions `wanted` of a shard, in its order.

    Raises ShardUnusable if the shard is missing, out of reach, has another SHA-256, or is another one than its index says.
    """
    with usable(shard.url):
        found = samples.read(lambda: opened(shard.url, shard.bytes, shard.classes), wanted, shard.images)
    return as_planned(shard, found).samples


def read_and_list(shard: Shard, wanted: Collection[int]) -> tuple[list[Sample], Listing | None]:
    """Return what `read` returns, and the listing of the shard; None of one that is no plain tar, or damaged."""
    tar = kinds.of(shard.url).indexed
    with usable(shard.url):
        found = samples.read(lambda: opened(shard.url, shard.bytes, shard.classes), wanted, shard.images, hashes=tar)
    return as_planned(shard, found).samples, listings.made(found)


def listing_beside(shard: Shard) -> Listing | None:
    """Return the listing that `barrage pack` put beside a shard, if it is the one that was there when the shard was planned."""
    if not shard.listing:
        return None
    folder, file_name = urls.split(shard.url)
    try:
        data = urls.at(folder, BRIEFLY).read(file_name + listings.ENDING)
    except StorageError:  # some servers call a file that is not there a forbidden one
        return None
    return listings.decode(data, shard.listing) if data else None


def read_listed(shard: Shard, listing: Listing, wanted: Collection[int]) -> list[Sample] | None:
    """Return the samples at the positions `wanted` of a shard, in its order, from ranges of its file.

    None if the listing is of another shard, an image has another hash than there, or the ranges can not be read: then `read`
    tells what is wrong.
    """
    if listing.sha256 != shard.sha256 or len(listing.samples) != shard.images:
        return None
    folder, file_name = urls.split(shard.url)
    return listings.read(urls.at(folder, BRIEFLY), file_name, shard.bytes, [listing.samples[place] for place in sorted(wanted)])


def as_planned(shard: Shard, found: Found) -> Found:
    """Return what was read of a shard. Raises ShardUnusable if it is not the one that was planned."""
    if found.sha256 != shard.sha256:
        raise ShardUnusable(f"shard {shard.url} has SHA-256 {found.sha256}, planned was {shard.sha256}: restore it")
    if found.count != shard.images:
        raise ShardUnusable(f"shard {shard.url} holds {found.count} samples, expected {shard.images}: its {INDEX} was wrong")
    return found


def listed(shard: Shard) -> list[Sample]:
    """Return all samples of a shard without their images. Raises ShardUnusable as `read` does."""
    with usable(shard.url):
        return samples.listed(lambda: opened(shard.url, shard.bytes, shard.classes), shard.images).samples


def glance(shard: Shard, count: int) -> list[Sample]:
    """Return the first sound samples of a shard, `count` at most; none if it can't be read."""
    try:
        return [sample for sample in read(shard, range(4 * count)) if sample.status == "ok"][:count]
    except ShardUnusable:
        return []


@contextmanager
def usable(url: str) -> Iterator[None]:
    """Raise ShardUnusable for what a shard that is missing or out of reach raises."""
    try:
        yield
    except FileNotFoundError:
        raise ShardUnusable(f"shard {url} can not be read: it is not there; restore it") from None
    except OSError as error:
        raise ShardUnusable(f"shard {url} can not be read: {error.strerror}; repair the disk or its mount") from None
    except (BadInput, StorageError) as error:
        raise ShardUnusable(str(error)) from None


@contextmanager
def opened(url: str, size: int, classes: Classes | None) -> Iterator[HashingStream]:
    """Open a shard at its beginning, as a tar; `size` in bytes."""
    with kinds.of(url).opened(url, size, classes) as file:
        yield HashingStream(file, url)
