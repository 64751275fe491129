"""Read the tensors of weights files of other programs, without making any object that stands beside them."""

import json
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from pipeline.errors import BadInput

ENDINGS = (".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".tar")
"""How files of weights end, as trainings call them."""

BESIDE = (
    "addict", "argparse", "collections", "datetime", "easydict", "fastcore", "lightning", "lightning_fabric", "ml_collections",
    "mmcv", "mmengine", "numpy", "omegaconf", "pathlib", "pytorch_lightning", "timm", "yacs",
)  # fmt: skip
"""Packages whose objects trainings store beside weights: settings, paths, measurements. Nothing of them is needed."""

ALONE = "save the state_dict of its network alone, by torch.save or safetensors"

_ZIPS = (
    (re.compile(r"^[^/]+/code/"), f"a TorchScript program: {ALONE}"),
    (re.compile(r"(^|/)archive_format$"), f"an exported program: {ALONE}"),
    (re.compile(r"\.npy$"), "NumPy arrays: save them as tensors, by torch.save or safetensors"),
)
"""What zip files are, by a name inside."""


class Object:
    """Hold the place of an object in a weights file: nothing is made of it, and nothing of it is kept."""

    def __new__(cls, *arguments: object) -> "Object":
        """Return one that ignores what the object would be made of."""
        return super().__new__(cls)

    def __init__(self, *arguments: object) -> None:
        """Keep nothing of what the object would be made of."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing of what the object would hold."""


def kind(value: object) -> str:
    """Return the kind of a value in a weights file by its full name, of an object that of the file."""
    own = type(value)
    return own.__name__ if own.__module__ == "builtins" else f"{own.__module__}.{own.__name__}"


def read(path: Path) -> Any:
    """Return the content of a weights file, its objects as `Object`. Raises BadInput, also for objects not of BESIDE."""
    names = _objects(path)
    others = sorted(name for name in names if name.partition(".")[0] not in BESIDE)
    if others:
        shown = f"{', '.join(others[:3])}{' and others' if len(others) > 3 else ''}"
        raise BadInput(f"weights {path} are no weights file: it holds objects that need code ({shown}): {ALONE}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with safe_globals([_stands_for(name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadInput(f"weights {path} are {_what(path, names, error)}") from None


def _objects(path: Path) -> list[str]:
    """Return the full names of the classes and functions in a file of torch.save that are not torch's own."""
    with suppress(Exception):  # not such a file: what it is instead is seen when it is read
        return list(get_unsafe_globals_in_checkpoint(path))
    return []


def _stands_for(name: str) -> Any:
    """Return a kind of `Object` of this full name."""
    module, _, last = name.rpartition(".")
    return type(last, (Object,), {"__module__": module})


def _what(path: Path, names: list[str], error: Exception) -> str:
    """Return in words what a file is that can't be read as weights, and what to do."""
    with path.open("rb") as file:
        start = file.read(64)
    if b"<html" in start.lower() or b"<!doctype" in start.lower():
        return "an HTML page: download them again"
    if start.startswith(b"\x89HDF"):
        return "an HDF5 file, as of Keras: save its values as tensors of the PyTorch network, by torch.save or safetensors"
    if path.suffix == ".onnx":
        return f"an ONNX program: {ALONE}"
    if path.suffix == ".distcp":
        return "a part of a distributed checkpoint: make one file of its folder by dcp_to_torch_save of torch.distributed"
    if path.suffix == ".json" and (parts := _parts(path)):
        return f"{len(parts)} files, {', '.join(parts[:2])} and so on: make one of them (transformers: max_shard_size)"
    if zipfile.is_zipfile(path):
        inside = zipfile.ZipFile(path).namelist()
        for pattern, said in _ZIPS:
            if any(map(pattern.search, inside)):
                return said
    if names:
        return f"no weights file: it holds objects ({', '.join(sorted(names)[:3])}): {ALONE}"
    return f"no weights file ({_first(error)}): download or export them again"


def _parts(path: Path) -> list[str]:
    """Return the names of the files that an index of Hugging Face lists; none if it is no such index."""
    with suppress(Exception):  # any JSON, or none
        return sorted(set(json.loads(path.read_text())["weight_map"].values()))
    return []


def _first(error: Exception) -> str:
    """Return the first sentence of an error, as letters alone: torch colours its own."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or type(error).__name__
    return re.split(r"\.\s|\n", text)[0][:120]
