"""Put a format number on everything that a store holds, and refuse what a later release wrote.

Each file that a store writes carries the stamp `{"format": 2, "release": "0.2"}`: the format, and the first release that reads
it. A file without a stamp has format 1, which release 0.1 wrote. What a release promises of formats: docs/compatibility.md.

A file that decides which rows count carries the hash of its content too, so that a flipped bit is noticed, not obeyed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadInput, Remark

FORMAT = 2
"""The format that this release writes, of every kind of file alike."""

RELEASES = {1: "0.1", 2: "0.2"}
"""The formats that this release reads, each with the first release that wrote it."""


HASH = "sha256"
"""The key of the hash in files that carry one."""


class Damaged(BadInput):
    """Say that a file is not what was written: restore it."""


class StoreWarning(Remark):
    """Warn of something in a store that changes no row, but that a reader should know."""


def stamp() -> dict[str, Any]:
    """Return what a new file says of its format."""
    return {"format": FORMAT, "release": RELEASES[FORMAT]}


def check(file: str, content: Mapping[str, Any]) -> int:
    """Return the format of a file, given what it says of itself. Raises BadInput if this release cannot read that format."""
    number = content.get("format", 1)
    if type(number) is not int or number not in RELEASES:
        written = f"barrage {content['release']}" if content.get("release") else "the release of barrage that wrote it"
        raise BadInput(
            f"{file} has format {number}, expected one of {', '.join(map(str, RELEASES))} (this is release "
            f"{RELEASES[FORMAT]}): read it with {written}, or a later one"
        )
    return int(number)


def bare(file: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds besides its stamp. Raises BadInput if this release cannot read its format."""
    check(file, content)
    own = stamp()
    return {key: value for key, value in content.items() if key not in own}


def hashed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds, with the stamp of this release in front and the hash of it all at the end."""
    whole = stamp() | dict(content)
    return whole | {HASH: _hash(whole)}


def intact(file: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds besides its stamp and its hash. A file without a hash, of an earlier release, is trusted.

    Raises BadInput if this release cannot read its format, Damaged if the content is not what its hash says.
    """
    number = check(file, content)
    whole = {key: value for key, value in content.items() if key != HASH}
    if HASH in content and content[HASH] != _hash(whole):
        raise Damaged(f"{file} was changed after it was written: its content, of format {number}, has another hash; restore it")
    return bare(file, whole)


def stamped(data: bytes) -> bytes:
    """Return a JSON object with the stamp of this release in front."""
    return json.dumps(stamp() | json.loads(data), indent=1).encode()


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return what a file holds as JSON, with the stamp of this release in front and the hash of it all at the end."""
    return json.dumps(hashed(content), indent=1).encode()


def of_json(file: str, data: bytes) -> dict[str, Any]:
    """Return what a JSON file holds, without its stamp and its hash.

    Raises BadInput for a later format, Damaged for a file that is no JSON object or not what its hash says.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Damaged(f"{file} holds no JSON object: it is damaged, or of another program; restore it")
    return intact(file, content)


def _hash(content: Mapping[str, Any]) -> str:
    """Return the hash of plain values: the same for the same values, however the file is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
