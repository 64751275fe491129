"""List the kinds of inputs, by name."""

from benchmarks.fuzz.images import Images
from benchmarks.fuzz.kind import Kind

KINDS: dict[str, type[Kind]] = {
    "image": Images,
}
"""A new kind is its class and its line here."""
