"""Hash what a function or a library returned in place of a file with a hash: its weights, and the file of the function.

A campaign that is resumed, or goes to another machine, must meet the same network there. A file of weights has a hash; a
function that reads weights of its own, or that was edited since, has none. So the hash of what it returned is kept.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from pipeline.errors import BadInput

KEY = "contents_sha256"
"""The key of a model's or a defense's section that holds the hash."""

SHA256 = "^[0-9a-f]{64}$"
DESCRIPTION = "SHA-256 of the weights that a function or a library returned, and of the function's file; filled in, to check by"


def contents(network: nn.Module, place: str | None = None) -> str:
    """Return the SHA-256 of a network's weights and buffers by name, in any precision and on any device.

    place  package.module:function that made it: the bytes of the module's file count too, where it has one
    """
    digest = hashlib.sha256(code(place) if place else b"")
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def steady(make: Callable[[], nn.Module], place: str | None = None) -> str | None:
    """Return the hash of what `make` makes; None if a second call makes other weights, as those of a part that has no use.

    Whether such weights matter is seen by passes of images (`pipeline.models.admission`), not by a hash.
    """
    first = contents(make(), place)
    return first if first == contents(make(), place) else None


def code(place: str) -> bytes:
    """Return the bytes of the file of an imported function's module, package.module:function; b"" for one without a file."""
    file = Path(getattr(sys.modules.get(place.partition(":")[0]), "__file__", None) or "")
    return file.read_bytes() if file.is_file() else b""


def agree(network: nn.Module, place: str | None, expected: str | None, who: str) -> None:
    """Raise BadInput if a network is not the one whose hash the campaign holds. `who` names it; no hash agrees with all."""
    if expected and (found := contents(network, place)) != expected:
        made = "its weights or the file of its function" if place else "its weights"
        raise BadInput(
            f"{who}: {made} changed since the campaign was made (SHA-256 {found}, expected {expected}): restore them, take "
            f"{KEY} out of the file, or use another --store"
        )
