"""Read the metadata of safetensors files: checkpoints, weights of classifiers and BPDA networks hold their own description.

A file begins with the length of its header, 8 bytes, little-endian; the header is JSON, and `__metadata__` in it maps names to
texts (https://github.com/huggingface/safetensors#format).
"""

import json
from typing import Any

from pipeline.store import formats


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
