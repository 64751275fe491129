"""Read and write the index beside shards: what each holds, and its hash. It comes from outside, so it is checked."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.data.tars.stream import UNFOLDED_TIMES
from pipeline.errors import BadInput
from pipeline.storage import urls
from pipeline.storage.files import Entry

INDEX = "index.json"
"""File beside the shards, written by `barrage pack`: {file name: {sha256, bytes, images, labels, listing}}."""

MAX_LABEL = 10**9
"""One more than the largest label."""

BYTES = 1024
"""Fewest bytes of a sample in a tar: the headers of its image and its label."""

Label = Annotated[int, Field(ge=0, lt=MAX_LABEL)]


class Indexed(BaseModel):
    """Describe a shard. `images` counts damaged samples too; `labels` are the smallest and the largest; `listing` is the
    SHA-256 of the shard's listing (`pipeline.data.listings`)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    images: int = Field(ge=0)
    labels: Annotated[list[Label], Field(min_length=2, max_length=2)]
    listing: str | None = Field(None, pattern="^[0-9a-f]{64}$")


_INDEX = TypeAdapter(dict[str, Indexed])


def read(folder: str) -> Mapping[str, Indexed]:
    """Return the index of a folder by file name; empty if it has none. Raises BadInput for one that is damaged or wrong."""
    entry = urls.at(folder).entry(INDEX)
    return _read(folder, entry) if entry else {}


@lru_cache(maxsize=8)
def _read(folder: str, entry: Entry) -> Mapping[str, Indexed]:
    """Return the index of a folder, parsed once for all its shards; `entry` names its version."""
    url, remedy = urls.join(folder, INDEX), "restore it, or remove it to have the shards read"
    try:
        found = _INDEX.validate_python(json.loads(urls.at(folder).read(entry.name) or b"{}"))
    except ValidationError as error:
        first = error.errors()[0]
        where, wrong = ", ".join([url, *map(str, first["loc"])]), first["msg"].lower().removesuffix(" or instance of indexed")
        raise BadInput(f"{where}: {str(first['input'])[:60]!r} is wrong: {wrong}; {remedy}") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{url} is damaged: {remedy}") from None
    for name, shard in found.items():
        low, high = shard.labels
        if low > high:
            raise BadInput(f"{url}, {name}: labels from {low} to {high}, expected the smaller first; {remedy}")
        if shard.images * BYTES > shard.bytes * UNFOLDED_TIMES:
            raise BadInput(f"{url}, {name}: {shard.images} images in {shard.bytes} bytes, which cannot be; {remedy}")
    return found


def add(folder: str, shards: Mapping[str, Indexed]) -> None:
    """Write descriptions of shards into the index of a folder, beside those that it has. Raises BadInput, StorageError."""
    found = {**read(folder), **shards}
    content = {name: shard.model_dump(exclude_none=True) for name, shard in found.items()}
    urls.at(folder).replace(INDEX, json.dumps(content, indent=1).encode())
