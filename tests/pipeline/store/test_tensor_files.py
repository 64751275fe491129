"""Metadata of safetensors files, against the library that writes them, and all kinds of damage."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from pipeline.store.tensor_files import metadata

ROOT = Path(__file__).parents[3]


def written(values=None):
    return save({"x": torch.arange(5.0), "y": torch.zeros(2, 3)}, values)


def test_it_reads_what_the_library_wrote_and_reads(tmp_path):
    values = {"header": json.dumps({"unit": "ä" * 300}), "sha256": "abc"}
    (tmp_path / "file.safetensors").write_bytes(written(values))
    with safe_open(tmp_path / "file.safetensors", "pt") as file:
        assert file.metadata() == values
    data = (tmp_path / "file.safetensors").read_bytes()
    assert {name: metadata(data, name) for name in values} == values
    end = 8 + int.from_bytes(data[:8], "little")
    assert metadata(data[:end], "sha256") == "abc", "the start of a file is enough"
    with pytest.raises(ValueError):
        metadata(data[: end - 1], "sha256")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0", bytes(8), bytes(100), b"\xff" * 40, written(), written({"other": "x"}),
     len(b"[1]").to_bytes(8, "little") + b"[1]", len(b'{"__metadata__":{"header":1}}').to_bytes(8, "little") +
     b'{"__metadata__":{"header":1}}', len(b"{nonsense").to_bytes(8, "little") + b"{nonsense"],
)  # fmt: skip
def test_whatever_is_no_such_file_is_an_error_of_one_kind(data):
    with pytest.raises(ValueError):
        metadata(data, "header")


def test_no_other_module_takes_a_header_apart():
    assert [
        path.relative_to(ROOT).as_posix()
        for folder in ("bart", "pipeline", "cluster")
        for path in (ROOT / folder).rglob("*.py")
        if "__metadata__" in path.read_text()
    ] == ["pipeline/store/tensor_files.py"]
