"""Hash what a function or a library returned in place of a file with a hash: its weights, and the file of the function.

A campaign that is resumed, or goes to another machine, must meet the same network there. A file of weights has a hash; a
function that reads weights of its own, or that was edited since, has none. So the hash of what it returned is kept.
"""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import nn

from pipeline.config import held_tensors
from pipeline.errors import BadInput

KEY = "contents_sha256"
"""The key of a model's or a defense's section that holds the hash."""

SHA256 = "^[0-9a-f]{64}$"
DESCRIPTION = "SHA-256 of the weights that a function or a library returned, and of the function's file; filled in, to check by"


def contents(network: nn.Module, place: str | None = None) -> str:
    """Return the SHA-256 of the tensors that a network holds, by name, in any layout and on any device. Raises BadInput for one
    that can't be read.

    place  package.module:function that made it: the bytes of the module's file count too, where it has one
    """
    digest = hashlib.sha256(code(place) if place else b"")
    for name, tensor in held_tensors.held(network):
        values = held_tensors.as_bytes(tensor, f"{place or 'the network'}: tensor {name}")
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(values)
    return digest.hexdigest()


def if_repeated(make: Callable[[], nn.Module], place: str | None = None) -> str | None:
    """Return the hash of what `make` makes; None if a second call makes other weights, as those of a part that has no use.

    Whether such weights matter is seen by passes of images (`pipeline.models.admission`), not by a hash.
    """
    first = contents(make(), place)
    return first if first == contents(make(), place) else None


def code(place: str) -> bytes:
    """Return the bytes of the file of an imported function's module, package.module:function; b"" for one without a file.

    A module may be imported from an archive: then whatever imported it reads them.
    """
    module = sys.modules.get(place.partition(":")[0])
    file = getattr(module, "__file__", None)
    if not file:
        return b""
    if Path(file).is_file():
        return Path(file).read_bytes()
    with suppress(OSError, AttributeError):  # an importer of a stranger need not read files
        return bytes(module.__spec__.loader.get_data(file))  # type: ignore[union-attr]
    return b""


def agree(network: nn.Module, place: str | None, expected: str | None, who: str) -> None:
    """Raise BadInput if a network is not the one whose hash the campaign holds. `who` names it; no hash agrees with all."""
    if expected and (found := contents(network, place)) != expected:
        made = "its weights or the file of its function" if place else "its weights"
        raise BadInput(
            f"{who}: {made} changed since the campaign was made (SHA-256 {found}, expected {expected}): restore them, take "
            f"{KEY} out of the file, or use another --store"
        )
