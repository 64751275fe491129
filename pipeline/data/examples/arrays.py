"""Read examples from arrays: .npz and .npy files of NumPy, .pt and .pth files of PyTorch."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from pipeline.data.tars.stream import UNFOLDED_FREE, UNFOLDED_TIMES
from pipeline.errors import BadInput, one_line

PREFERRED = ("examples", "x_adv", "adv", "adversarial", "adv_complete")
"""Names by which an array of images is chosen where a file holds several."""

SLACK = 1e-3
"""How far a value may lie outside [0, 1]: attacks round."""

Array = np.ndarray[Any, Any]

_REMEDY = "expected images (n, 3, h, w) or (n, h, w, 3), uint8 or float in [0, 1], and if you like their keys and labels (n,)"


@dataclass(frozen=True)
class Arrays:
    """Hold the examples of a file.

    images  (n, 3, h, w) uint8 or float
    keys    of the images, in order; None: the file holds none
    labels  of the images, in order; None: the file holds none
    """

    images: Tensor
    keys: Sequence[str] | None
    labels: Sequence[int] | None
    sha256: str

    @property
    def side(self) -> tuple[int, int] | None:
        """Return the height and width of all images."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def count(self) -> int:
        """Return how many examples there are."""
        return len(self.images)

    def read(self, places: Sequence[int]) -> list[Tensor | str]:
        """Return examples (3, h, w) float32 in [0, 1], or why one cannot be used."""
        return [_example(self.images[place]) for place in places]


def _example(image: Tensor) -> Tensor | str:
    x = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    if not x.isfinite().all():
        return "its example holds NaN or infinite values"
    if x.min() < -SLACK or x.max() > 1 + SLACK:
        return (
            f"its example has values from {float(x.min()):.3g} to {float(x.max()):.3g}, expected [0, 1]: undo the normalisation"
        )
    return x.clamp(0, 1)


def of_file(path: Path) -> Arrays:
    """Return the examples of a file. Raises BadInput for one that is damaged, or holds something else, or code."""
    try:
        arrays = READERS[path.suffix](path)
        images = _images(arrays)
        keys, labels = _keys(arrays, len(images)), _labels(arrays, len(images))
    except Exception as error:  # readers of damaged files raise anything
        raise BadInput(f"examples {path}: {one_line(error)}; {_REMEDY}") from None
    return Arrays(images, keys, labels, hashlib.file_digest(path.open("rb"), "sha256").hexdigest())


def _numpy(path: Path) -> Mapping[str, Any]:
    """Return the arrays of a .npz or .npy file by name, without running what a pickled object says. Raises ValueError."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
        if unfolded > UNFOLDED_FREE + UNFOLDED_TIMES * path.stat().st_size:
            raise ValueError(f"it unfolds to more than {UNFOLDED_TIMES} times its size")
        with NpzFile(path.open("rb"), own_fid=True, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    return {"": np.lib.format.open_memmap(path, mode="c")}  # refuses arrays of objects


def _torch(path: Path) -> Mapping[str, Any]:
    """Return the tensors of a .pt file by name, without running what a pickled object says."""
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(found, Mapping):
        return {str(name): value for name, value in found.items()}
    return {str(i): part for i, part in enumerate(found)} if isinstance(found, list | tuple) else {"": found}


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {".npz": _numpy, ".npy": _numpy, ".pt": _torch, ".pth": _torch}
"""How the arrays of a file are read, by its ending."""


def _images(arrays: Mapping[str, Any]) -> Tensor:
    """Return the one array of images, (n, 3, h, w). Raises ValueError."""
    found = {name: value for name, value in arrays.items() if len(getattr(value, "shape", ())) == 4}
    chosen = [name for name in PREFERRED if name in found] if len(found) > 1 else list(found)
    if len(chosen) != 1:
        there = ", ".join(f"{name or 'an array'} {tuple(getattr(v, 'shape', ()))}" for name, v in arrays.items())[:200]
        several = f"it holds {len(found)} arrays of images, keep one or call it examples" if found else "it holds no images"
        raise ValueError(f"{several}: {there or 'nothing'}")
    images = torch.as_tensor(found[chosen[0]])
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images of {images.dtype}")
    if images.shape[1] != 3 and images.shape[3] == 3:
        images = images.permute(0, 3, 1, 2)
    if images.shape[1] != 3:
        raise ValueError(f"images {tuple(images.shape)}")
    return images


def _keys(arrays: Mapping[str, Any], count: int) -> list[str] | None:
    """Return the keys of the images: the array or list of texts, if there is one. Raises ValueError for a wrong number."""
    for name, value in arrays.items():
        texts = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind == "U" else value
        if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
            if len(texts) != count:
                raise ValueError(f"{len(texts)} {name} for {count} images")
            return texts
    return None


def _labels(arrays: Mapping[str, Any], count: int) -> list[int] | None:
    """Return the labels of the images: the array of whole numbers called so, if there is one."""
    for name in ("labels", "label", "y"):
        value = arrays.get(name)
        if value is not None and tuple(getattr(value, "shape", ())) == (count,) and "int" in str(value.dtype):
            return [int(label) for label in value.tolist()]
    return None
