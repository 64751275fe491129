"""Put a format number on everything that a store holds, and refuse what a later release wrote.

Each file that a store writes carries the stamp `{"format": 2, "release": "0.2"}`: the format, and the first release that reads
it. A file without a stamp has format 1, which release 0.1 wrote. What a release promises of formats: docs/compatibility.md.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadInput, Remark

FORMAT = 2
"""The format that this release writes, of every kind of file alike."""

RELEASES = {1: "0.1", 2: "0.2"}
"""The formats that this release reads, each with the first release that wrote it."""


class StoreWarning(Remark):
    """Warn of something in a store that changes no row, but that a reader should know."""


def stamp() -> dict[str, Any]:
    """Return what a new file says of its format."""
    return {"format": FORMAT, "release": RELEASES[FORMAT]}


def check(file: str, content: Mapping[str, Any]) -> int:
    """Return the format of a file, given what it says of itself. Raises BadInput if this release cannot read that format."""
    number = content.get("format", 1)
    if number not in RELEASES:
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


def stamped(data: bytes) -> bytes:
    """Return a JSON object with the stamp of this release in front."""
    return json.dumps(stamp() | json.loads(data), indent=1).encode()


def unstamped(file: str, data: bytes) -> bytes:
    """Return a JSON object without its stamp. Raises BadInput for a later format, ValueError if it is no JSON object."""
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object")
    return json.dumps(bare(file, content)).encode()
