"""Keep where the images of a shard lie and what their hashes are, so that a unit reads its own images alone.

A listing is made from a whole read of a shard, whose hash was then checked. So an image whose bytes have the hash of the
listing is the one that the shard held when it had the planned hash. A listing is a shortcut, never an authority: where anything
does not agree, the whole shard is read, and judged by its own hash.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import index
from typing import Any

from pipeline.data.samples import MAX_BYTES, Found, Sample
from pipeline.errors import StorageError
from pipeline.storage.files import PART, Files, Place

ENDING = ".listing.json"
"""What follows the name of a shard's file in that of the listing beside it."""

NEAR = 16 << 10
"""Bytes that are read along rather than asked around: a request costs more."""

SPARE = 0.15
"""Share of the bytes that are used, of which others may be read along to save requests, beside those that are near."""


@dataclass(frozen=True)
class Listing:
    """Hold all samples of a plain tar in order, without their images; `sha256` is the shard's."""

    sha256: str
    samples: tuple[Sample, ...]

    def content(self) -> dict[str, Any]:
        """Return plain values: of each sample key, label, status, error, where its image begins, its bytes, their hash."""
        lines = [[s.key, s.label, s.status, s.error, *(s.at or (None, None)), s.sha256] for s in self.samples]
        return {"shard": self.sha256, "samples": lines}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Listing":
        """Return a listing from plain values. Raises KeyError, TypeError or ValueError for something else.

        What it says of places is not checked here: the file that they are in is not known.
        """
        return cls(str(content["shard"]), tuple(_sample(*line) for line in content["samples"]))


def _sample(key: str, label: int, status: str, error: str, begin: int | None, size: int | None, sha256: str) -> Sample:
    """Return a sample from a line of a listing."""
    at = None if begin is None or size is None else (index(begin), index(size))
    return Sample(str(key), b"", index(label), str(status), str(error), at, str(sha256))


def made(found: Found) -> Listing | None:
    """Return the listing of a shard that was read with hashes; None of one that is damaged, or gzipped: it has no places."""
    return Listing(found.sha256, found.every) if found.every and not found.folded else None


def encode(listing: Listing) -> bytes:
    """Return the file that `barrage pack` puts beside a shard; its own hash stands in the index."""
    return json.dumps(listing.content()).encode()


def decode(data: bytes, sha256: str) -> Listing | None:
    """Return the listing in a file beside a shard; None if the file has not the hash `sha256`, or is none."""
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    try:
        return Listing.of(json.loads(data))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def read(files: Files, name: str, size: int, listed: Sequence[Sample]) -> list[Sample] | None:
    """Return samples of a listing with their images, read from the file `name` of a shard, which has `size` bytes.

    None if an image has not the hash of the listing, or the listing has none or lies outside the file, or where the file or
    its server does not give these ranges.
    """
    good = [sample for sample in listed if sample.status == "ok"]
    places = {sample.at for sample in good if sample.at and sample.sha256 and _inside(sample.at, size)}
    if any(sample.at not in places for sample in good):
        return None
    asked = ranges(places)
    try:
        images = _cut(asked, files.parts(name, asked), places)
    except (OSError, StorageError):  # a read of the whole tells what is wrong, if anything is
        return None
    if any(hashlib.sha256(images[sample.at]).hexdigest() != sample.sha256 for sample in good if sample.at):
        return None
    return [replace(sample, image=images[sample.at]) if sample.status == "ok" and sample.at else sample for sample in listed]


def _inside(place: Place, size: int) -> bool:
    """Return whether a place can be that of an image in a file of `size` bytes."""
    begin, length = place
    return 0 <= begin <= begin + length <= size and length <= MAX_BYTES


def ranges(places: "set[Place]") -> list[Place]:
    """Return the ranges of a file to ask for, in order, so that each of the places lies in one.

    Few bytes are read besides: those between places that are near, and of other gaps the smallest, up to the share SPARE.
    """
    ordered = sorted(places)
    gaps = [after[0] - sum(before) for before, after in pairwise(ordered)]
    spare, joined = SPARE * sum(size for _, size in ordered), set[int]()
    for gap, number in sorted((gap, number) for number, gap in enumerate(gaps)):
        spare -= gap if gap > NEAR else 0
        if spare < 0:
            break
        joined.add(number)
    found = list[Place]()
    for number, (begin, size) in enumerate(ordered):
        if number - 1 in joined and begin + size - found[-1][0] <= PART:
            found[-1] = found[-1][0], max(sum(found[-1]), begin + size) - found[-1][0]
        else:
            found.append((begin, size))
    return found


def _cut(asked: Sequence[Place], parts: Sequence[bytes], places: "set[Place]") -> dict[Place, bytes]:
    """Return the bytes at each of the places, from those of the ranges; fewer where the file ends."""
    found, number = dict[Place, bytes](), 0
    for begin, size in sorted(places):
        while number + 1 < len(asked) and asked[number + 1][0] <= begin:
            number += 1
        start = begin - asked[number][0]
        found[begin, size] = parts[number][start : start + size]
    return found
