"""Read the metadata of safetensors files, and write such files piece by piece.

Checkpoints, weights of classifiers and BPDA networks hold their own description. A file begins with the length of its header, 8
bytes, little-endian; the header is JSON, and `__metadata__` in it maps names to texts; the tensors' bytes follow
(https://github.com/huggingface/safetensors#format). The library writes a file in one piece only, which doubles the memory.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pipeline.storage.files import PART
from pipeline.store import formats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Watch = Callable[[], None]
"""Called before each piece; what it raises ends the work."""

_ALIGNED = 8
"""The header's length is a multiple of this many bytes."""


class TensorFile:
    """Hold a file of tensors on the host as pieces that share their memory; see `pipeline.storage.files.Pieces`.

    tensors   by name; none may change before the file is written
    metadata  texts by name
    """

    def __init__(self, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str], watch: Watch = lambda: None) -> None:
        self._watch = watch
        self._tensors = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        end = 0
        for name, tensor in self._tensors:
            begin, end = end, end + tensor.numel() * tensor.element_size()
            header[name] = {"dtype": _kind(tensor.dtype), "shape": list(tensor.shape), "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % _ALIGNED)
        self._header = len(text).to_bytes(8, "little") + text
        self.size = len(self._header) + end

    def __iter__(self) -> Iterator[memoryview]:
        yield memoryview(self._header)
        for _, tensor in self._tensors:
            yield from pieces(tensor, self._watch)

    def __bytes__(self) -> bytes:
        return b"".join(self)


@lru_cache
def _kind(dtype: "torch.dtype") -> str:
    """Return what a header calls a type of values, as the library writes it; raises what that does for one that it lacks."""
    import torch
    from safetensors.torch import save

    data = save({"": torch.empty(0, dtype=dtype)})
    return str(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])[""]["dtype"])


def pieces(tensor: "Tensor", watch: Watch = lambda: None) -> Iterator[memoryview]:
    """Yield the bytes of a tensor on the host, at most PART at a time, without a copy of a contiguous one."""
    import torch  # takes seconds, and who reads metadata needs none

    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    for begin in range(0, len(data), PART):
        watch()
        yield data[begin : begin + PART]


def metadata(data: bytes, name: str) -> str:
    """Return one text of a file's metadata. Reads only the start of `data`.

    Raises ValueError if `data` doesn't begin with a whole header, or the header holds no such text.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    values = header.get("__metadata__") if isinstance(header, dict) else None
    text = values.get(name) if isinstance(values, dict) else None
    if not isinstance(text, str):
        raise ValueError(f"the header holds no text {name!r}")
    return text


def description(file: str, data: bytes, name: str) -> dict[str, Any] | None:
    """Return what `file` says of itself in the text `name` of its metadata, without its stamp; None if that is no JSON object.

    Raises BadInput, which names `file`, for one of a later format.
    """
    try:
        content = json.loads(metadata(data, name))
    except ValueError:
        return None
    return formats.bare(file, content) if isinstance(content, dict) else None
