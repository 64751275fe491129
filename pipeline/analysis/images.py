"""Name images by one text each, and find them by it: no shard has a slash in its name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def named(rows: pa.Table) -> pa.ChunkedArray:
    """Return the name of each image, `shard/key`."""
    parts = [pc.fill_null(rows[name].cast(pa.string()), "") for name in ("shard", "image_key")]
    return pc.binary_join_element_wise(*parts, "/")


def split(name: str) -> tuple[str, str]:
    """Return the shard and the key of an image's name."""
    shard, _, key = name.partition("/")
    return shard, key


def places(names: Any, among: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the place of each name among others, (n,), -1 where it is not there."""
    return np.asarray(pc.fill_null(pc.index_in(names, value_set=among), -1)).astype(np.int64)


def shards_of(names: Any) -> Sequence[str]:
    """Return the shards of some images, sorted."""
    parts = pc.list_element(pc.split_pattern(names, "/", max_splits=1), 0)
    return sorted(parts.unique().to_pylist())
