"""Write a training into its store, and read back which shards an earlier run has inspected.

training.yaml       {format, release, training, identity, shards, decoding}
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from pipeline.config.bpda_training import BpdaTraining
from pipeline.config.campaign import Data
from pipeline.config.classifier_training import ClassifierTraining
from pipeline.config.yaml_loader import plain
from pipeline.data import earlier_pixels, pictures, shards
from pipeline.data.pack.classes import Classes, given
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.layout import Store

FILE = "training.yaml"

Report = Callable[[str], None]
"""Show one line to a person."""


def hashed(values: Any) -> str:
    """Return a short hash of plain values: what JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def hash_of_images(used: Iterable[Shard], data: Data) -> str:
    """Return a hash of the images of a training: of its shards, of how many images take part, and whether EXIF turns them."""
    return hashed([[shard.sha256 for shard in used], data.limit, *(["exif"] if data.exif else [])])


def write(url: str, training: BpdaTraining | ClassifierTraining, identity: str, used: Iterable[Shard]) -> None:
    """Write a training, with all hashes filled in, into the store at `url`."""
    content = formats.stamp() | {
        "training": training.model_dump(mode="json", exclude={"store", "workers"}),
        "identity": identity,
        "shards": [shard.described() for shard in used],
        **earlier_pixels.recorded(),
    }
    store = Store(url)
    store.sweep()
    store.replace(FILE, yaml.safe_dump(content, sort_keys=False).encode())


def inspected(data: Data, url: str, report: Report) -> list[Shard]:
    """Return the shards of a training. Those that an earlier run on its store has inspected are not read again.

    Raises BadInput, StorageError.
    """
    classes = given(data.classes)
    known, decoding, used = *_known(url, classes), []
    for path, size in shards.paths(data, report).items():
        shard = known.get(path)
        if shard is None or shard.bytes != size:
            report(f"reading {path} for the first time")
            shard = shards.inspect(path, report, classes)
        used.append(shard)
    shards.refuse_hopeless(used)
    earlier_pixels.refuse(decoding, [shard for shard in used if shard.url in known], url, report)
    return used


def _known(url: str, classes: Classes | None) -> tuple[dict[str, Shard], object]:
    """Return the shards that an earlier run on this store has inspected, by path, and the version that decoded their images.

    Raises BadInput for a later format.
    """
    data = Store(url).read(FILE)
    if not data:
        return {}, pictures.VERSION
    content = formats.bare(f"{url}/{FILE}", plain(data))
    known = [Shard.of(shard, classes) for shard in content["shards"]]
    return {shard.url: shard for shard in known}, content.get(earlier_pixels.KEY, 1)


def check_images(images: int, held_out: int, batch: int) -> None:
    """Raise BadInput if there are too few images for those held out of training and one batch."""
    if images < held_out + batch:
        raise BadInput(
            f"data hold {images} images, expected at least {held_out + batch}, held_out and one batch: "
            "add shards, or lower held_out"
        )
