"""Turn the running attack of a unit into bytes and back: safetensors with a hash of its own, so that damage is noticed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.store import formats
from pipeline.store.tensor_files import TensorFile, Watch, description, metadata, pieces

if TYPE_CHECKING:
    from torch import Tensor

HEADER_BYTES = 1 << 16
"""How much of a file `header` needs."""


@dataclass(frozen=True)
class Header:
    """Describe a checkpoint; `identity` is the cell's, `step` the mean over images, `commit` the code's (empty in format 1)."""

    unit: str
    identity: str
    step: float
    steps: int
    images: int
    seconds: float
    commit: str = ""


def encode(header: Header, tensors: "Mapping[str, Tensor]", watch: Watch = lambda: None) -> TensorFile:
    """Return a checkpoint file, in pieces that share the memory of the tensors.

    `watch` is called before each piece is hashed or written; what it raises ends that.
    """
    about = {"header": json.dumps(formats.stamp() | asdict(header)), "sha256": _hash(tensors, watch)}
    return TensorFile(tensors, about, watch)


def header(data: bytes, file: str) -> Header | None:
    """Return the header of a checkpoint, of which only the start is read; None if it is damaged.

    Raises BadInput, which names `file`, for a checkpoint of a later format.
    """
    content = description(file, data, "header")
    try:
        return Header(**content) if content else None
    except TypeError:
        return None


def decode(data: bytes) -> "dict[str, Tensor] | None":
    """Return the tensors, or None if a bit differs from what was written."""
    from safetensors.torch import load

    try:
        expected = metadata(data, "sha256")
        tensors = load(data)
    except Exception:  # any damage: safetensors raises many kinds
        return None
    return tensors if _hash(tensors) == expected else None


def _hash(tensors: "Mapping[str, Tensor]", watch: Watch = lambda: None) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        for piece in pieces(tensors[name], watch):
            digest.update(piece)
    return digest.hexdigest()
