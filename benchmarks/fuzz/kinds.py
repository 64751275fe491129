"""List the kinds of inputs, by name."""

from benchmarks.fuzz.images import Images
from benchmarks.fuzz.indices import Indices
from benchmarks.fuzz.kind import Kind
from benchmarks.fuzz.shards import Shards
from benchmarks.fuzz.stores import Stores
from benchmarks.fuzz.yamls import Yamls

KINDS: dict[str, type[Kind]] = {
    "image": Images,
    "shard": Shards,
    "index": Indices,
    "yaml": Yamls,
    "store": Stores,
}
"""A new kind is its class and its line here."""
