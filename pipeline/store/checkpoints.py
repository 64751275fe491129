"""The running attack of a unit as bytes: safetensors with a hash of its own, so that a damaged one is noticed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.store.tensor_files import metadata

if TYPE_CHECKING:
    from torch import Tensor

HEADER_BYTES = 1 << 16
"""As much of a file as `header` needs."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself; `identity` is the cell's, `step` the mean over images."""

    unit: str
    identity: str
    step: float
    steps: int
    images: int
    seconds: float


def encode(header: Header, tensors: "dict[str, Tensor]") -> bytes:
    """A checkpoint file."""
    from safetensors.torch import save  # torch takes seconds to import, and who reads a header needs none

    return save(tensors, {"header": json.dumps(asdict(header)), "sha256": _hash(tensors)})


def header(data: bytes) -> Header | None:
    """What a checkpoint says of itself, or None if it is damaged. Reads only the start of `data`."""
    try:
        return Header(**json.loads(metadata(data, "header")))
    except (ValueError, TypeError):
        return None


def decode(data: bytes) -> "dict[str, Tensor] | None":
    """The tensors, or None if a bit is not as it was written."""
    from safetensors.torch import load

    try:
        expected = metadata(data, "sha256")
        tensors = load(data)
    except Exception:  # any damage: safetensors raises many kinds
        return None
    return tensors if _hash(tensors) == expected else None


def _hash(tensors: "dict[str, Tensor]") -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
