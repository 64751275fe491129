"""Join two cells on their images, and refuse stores in which the same name stands for another image or another class."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.analysis.comparison.measured import COSTS, VALUES, Measured
from pipeline.analysis.images import places, shards_of, split
from pipeline.data import shards
from pipeline.data.shards import Shard
from pipeline.errors import BadInput, ShardUnusable

FEW = 0.5
"""A smaller share of the images of either cell in common is warned of."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Hold the images that both cells attacked.

    names   (images,) text, `shard/key`
    label   (images,) the right class
    first   (images,) one line an image, with the columns of VALUES and COSTS
    second  the same images in the same order
    """

    names: Any
    label: np.ndarray[Any, np.dtype[np.int32]]
    first: pd.DataFrame
    second: pd.DataFrame

    def __len__(self) -> int:
        return len(self.label)


def joined(first: Measured, second: Measured) -> Pairs:
    """Return the images that both cells attacked.

    Raises BadInput if there is none, and if the images or classes of the same names are not the same.
    """
    at_first = places(second.names, first.names)
    at_second = np.flatnonzero(at_first >= 0)
    at_first = at_first[at_second]
    if not len(at_first):
        raise BadInput(
            f"{first.side} and {second.side} have no image in common: {_said(first)}; {_said(second)}: both must have attacked "
            "the same shards"
        )
    columns = [*VALUES, *COSTS]
    one, two = first.values.iloc[at_first], second.values.iloc[at_second]
    names = first.names.take(pa.array(at_first))
    _refuse_other_bytes(first, second, names)
    _refuse_other_labels(first, second, names, one["label"].to_numpy(), two["label"].to_numpy())
    kept = [frame[columns].reset_index(drop=True) for frame in (one, two)]
    return Pairs(names, one["label"].to_numpy(), *kept)


def remarks(first: Measured, second: Measured, pairs: Pairs) -> Iterator[str]:
    """Yield what a reader must know of the images that are compared, a line each."""
    for side, other in ((first, second), (second, first)):
        left = len(side.names) - len(pairs)
        if left and len(pairs) < FEW * len(side.names):
            yield (
                f"only {len(pairs):,} of the {len(side.names):,} images of {side.side} are compared: {other.side} did not "
                "attack the others"
            )
        if side.failed:
            yield f"{side.side}: images that could not be attacked, and are left out of both: {side.failed:,}"
    if first.job.store == second.job.store:
        return
    if unknown := [name for name in shards_of(pairs.names) if not all(_hashes(first, second, name))]:
        of = f"{_counted(len(unknown), 'shard')}, such as {unknown[0]}"
        yield f"no hash is kept of {of}: labels agree, bytes could not be compared"
    yield from _other_names(first, second, pairs)


def _said(side: Measured) -> str:
    """Return in words which images a cell has."""
    found = shards_of(side.names)
    of = f", such as {split(side.names[0].as_py())[1]} of shard {found[0]}" if found else ""
    return f"{side.side} attacked {_counted(len(side.names), 'image')} of {_counted(len(found), 'shard')}{of}"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _hashes(first: Measured, second: Measured, shard: str) -> tuple[str, str]:
    """Return the SHA-256 of a shard in both stores, empty where none is kept."""
    return first.job.shards[shard].sha256, second.job.shards[shard].sha256


def _refuse_other_bytes(first: Measured, second: Measured, names: Any) -> None:
    """Raise BadInput if a shard of the same name has other bytes in the two stores, and so have images in it.

    Shards that were packed anew are read, if both are there still.
    """
    if first.job.store == second.job.store:
        return
    for shard in shards_of(names):
        one, two = _hashes(first, second, shard)
        if not (one and two and one != two):
            continue
        keys = {split(name)[1] for name in names.filter(pc.starts_with(names, f"{shard}/")).to_pylist()}
        where = (
            f"shard {shard} has other bytes in {first.job.store} (SHA-256 {one[:12]}) than in {second.job.store} ({two[:12]})"
        )
        try:
            other = _differing(first.job.shards[shard], second.job.shards[shard], keys)
        except ShardUnusable:
            raise BadInput(
                f"{where}, and its images cannot be read to compare them: compare stores whose campaigns read the same shards"
            ) from None
        if other:
            raise BadInput(
                f"{where}, and so has the image {other[0]}, with {len(other) - 1:,} more: the same keys are other images; "
                "compare stores whose campaigns read the same shards"
            )


def _differing(first: Shard, second: Shard, keys: Collection[str]) -> list[str]:
    """Return which of these images have other bytes in two shards, sorted. Raises ShardUnusable."""
    one, two = (
        {s.key: hashlib.sha256(s.image).digest() for s in shards.read(shard, range(shard.images)) if s.key in keys}
        for shard in (first, second)
    )
    return sorted(key for key in keys if one.get(key) != two.get(key))


def _refuse_other_labels(first: Measured, second: Measured, names: Any, one: Any, two: Any) -> None:
    """Raise BadInput if an image has another label in the two cells; `one` and `two` (images,)."""
    other = np.flatnonzero(one != two)
    if len(other):
        shard, key = split(names[int(other[0])].as_py())
        raise BadInput(
            f"the image {key} of shard {shard} has the label {one[other[0]]} in {first.side}, {two[other[0]]} in "
            f"{second.side}, with {len(other) - 1:,} more: the classes were given in another order; run one campaign again "
            "with the data.classes of the other"
        )


def _other_names(first: Measured, second: Measured, pairs: Pairs) -> Iterator[str]:
    """Yield a line if a label that occurs has another name in the two stores."""
    one, two = first.job.campaign.data, second.job.campaign.data
    if not one.names or not two.names:
        return
    for label in map(int, np.unique(pairs.label)):
        if one.named(label) != two.named(label):
            yield f"class {label} is {one.named(label)} in {first.side.store}, {two.named(label)} in {second.side.store}"
            return
