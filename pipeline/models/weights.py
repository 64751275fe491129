"""Write and read trained classifiers: weights, and a manifest that describes them. Checked before use.

FOLDER/model.safetensors    the weights, with the manifest inside
FOLDER/manifest.json        the manifest, with the SHA-256 of the weights file
FOLDER/curves.parquet       loss and accuracy during the training
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors
from torch import Tensor

from pipeline.config.campaign import Model
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.tensor_files import description

FILE = "model.safetensors"
MANIFEST = "manifest.json"
_KEY = "model"

Manifest = dict[str, Any]
"""`model`: architecture, classes, mean, std; `images`: resize, crop, their number; `training`: the training file, its identity,
steps, hash of the images, and in `definitions` the versions of transforms and attack; `accuracy`: on held-out images, by k;
`precision`, `device`, `commit`, `versions`."""


def encode(manifest: Manifest, weights: dict[str, Tensor]) -> bytes:
    """Return the bytes of a weights file; the same manifest and weights make the same bytes."""
    return save_tensors(
        {k: v.cpu().contiguous() for k, v in weights.items()}, {_KEY: json.dumps(formats.stamp() | manifest, sort_keys=True)}
    )


def manifest_of(file: str, data: bytes) -> Manifest | None:
    """Return the manifest inside the weights file `file`, or None if it has none. Reads only the start of `data`.

    Raises BadInput, which names `file`, for one of a later format.
    """
    return description(file, data, _KEY)


def manifest_in(path: Path) -> Manifest | None:
    """Return the manifest inside the weights file at `path`, or None if it has none. Reads the file's header alone.

    Raises BadInput for one of a later format.
    """
    with path.open("rb") as file:
        start = file.read(8)
        size = int.from_bytes(start, "little")
        return manifest_of(str(path), start + file.read(size)) if size <= path.stat().st_size else None


def manifest(folder: str | Path) -> Manifest | None:
    """Return the manifest of the model in a folder, or None if there is no model. Raises BadInput for a later format."""
    data = Store(folder).read(FILE)
    return manifest_of(f"{folder}/{FILE}", data) if data else None


def write_manifest(folder: str | Path) -> None:
    """Write the manifest beside the weights, for people and scripts."""
    data = Store(folder).read(FILE)
    found = manifest_of(f"{folder}/{FILE}", data) if data else None
    if data and found:
        described = found | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        Store(folder).replace(MANIFEST, formats.stamped(json.dumps(described).encode()) + b"\n")


def agree(path: Path, model: Model) -> None:
    """Raise BadInput if the manifest inside a weights file describes another model; files without a manifest pass."""
    found = manifest_in(path) if path.suffix == ".safetensors" else None
    for name, was in (found or {}).get("model", {}).items():
        wanted = getattr(model, name, was)
        wanted = list(wanted) if isinstance(wanted, tuple) else wanted
        if wanted not in (None, was):
            raise BadInput(
                f"weights {path} are of a model with {name} {was}, asked for is {wanted}: correct `{name}`, or use others"
            )
