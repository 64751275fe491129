"""Hold what the kinds of sources share: images whose bytes all differ, and what reading them gives."""

from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kind import FAULTS, OTHER, SAME, one_line
from benchmarks.fuzz.shards import PICTURES
from pipeline.data import shards
from pipeline.data.samples import Sample

IMAGES = [data + bytes([0] * number) for number in range(2) for _, data in PICTURES[:4]]
"""Images whose bytes are all different."""

NAMES = ("a", "b 1", "c.2", "d_3", "图", "A", "e,f", "g;h")
"""Names of sound files, without ending."""


def samples_of(urls: list[str]) -> list[Sample]:
    """Return all samples of some shards."""
    found = [shards.inspect(url) for url in urls]
    return [sample for shard in found for sample in shards.read(shard, range(shard.images))]


def outcome(found: list[Sample], sound: list[Sample]) -> str:
    """Return what became of a mutant, given its samples."""
    for sample in found:
        if sample.error:
            one_line(sample.error)
        one_line(sample.key)
    if any(sample.status != "ok" for sample in found):
        return FAULTS
    return SAME if found == sound else OTHER


def pictures(folder: Path) -> list[Path]:
    """Write images into a folder and return their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{name}.{('jpg', 'png', 'PPM')[place % 3]}" for place, name in enumerate(NAMES)]
    for path, image in zip(paths, IMAGES, strict=True):
        path.write_bytes(image)
    return paths


def parquet_options(chance: Random) -> dict[str, Any]:
    """Return options of writing Parquet."""
    return {
        "compression": chance.choice(("none", "snappy", "zstd", "gzip")), "use_dictionary": chance.random() < 0.5,
        "data_page_version": chance.choice(("1.0", "2.0")), "write_page_checksum": chance.random() < 0.5,
        "row_group_size": chance.choice((2, 100)), "write_statistics": chance.random() < 0.5,
    }  # fmt: skip
