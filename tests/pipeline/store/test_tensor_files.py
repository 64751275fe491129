"""Metadata of safetensors files, against the library that writes them, and all kinds of damage."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from pipeline.store.tensor_files import TensorFile, metadata

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


def kept(dtype):
    """Return whether the library brings values of this type back."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch calls some types experimental
            return load(save({"x": torch.zeros(4, dtype=dtype)}))["x"].dtype == dtype
    except Exception:  # an error of another kind for each that it does not know
        return False


KEPT = [kind for kind in sorted({one for one in vars(torch).values() if isinstance(one, torch.dtype)}, key=str) if kept(kind)]
"""In an order of their own: that of a set is another one in each process, and workers of a test run must agree."""


@pytest.mark.parametrize("dtype", KEPT, ids=str)
def test_values_of_every_type_that_the_library_keeps_are_kept_bit_for_bit(dtype):
    """Attacks of other packages remember what they like."""
    bits = torch.arange(48, dtype=torch.uint8).add(1)
    values = bits.clamp(max=1).bool() if dtype == torch.bool else bits.view(dtype)
    tensors = {"many": values, "one": values[0], "none": values[:0], "apart": values[::2]}
    file = TensorFile(tensors, {"about": "text"})
    data = bytes(file)
    found = load(data)
    assert len(data) == file.size and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (dtype, tensor.shape)
        mine, theirs = (one.contiguous().reshape(-1).view(torch.uint8) for one in (tensor, found[name]))
        assert torch.equal(mine, theirs)


def test_a_state_may_hold_values_of_these_types_at_least():
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    assert {getattr(torch, name) for name in names} <= set(KEPT)


def test_no_other_module_takes_a_header_apart():
    assert [
        path.relative_to(ROOT).as_posix()
        for folder in ("bart", "pipeline", "cluster")
        for path in (ROOT / folder).rglob("*.py")
        if "__metadata__" in path.read_text()
    ] == ["pipeline/store/tensor_files.py"]
