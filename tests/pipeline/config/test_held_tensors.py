"""Every tensor that decides logits counts in the hash of a network, wherever it is kept and however it is laid out."""

import importlib
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune, weight_norm

from pipeline.config import contents, held_tensors
from pipeline.errors import BadInput


class Holder(nn.Module):
    """A module with one attribute."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept


class Extra(nn.Module):
    """A module that packs its weights when it is stored, as layers of other libraries do."""

    def __init__(self, value):
        super().__init__()
        self._hidden = (lambda: value,)

    def get_extra_state(self):
        return {"weights": torch.tensor(self._hidden[0]())}

    def set_extra_state(self, state):
        raise NotImplementedError


def filled(module, value):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


def buffered(tensor):
    made = nn.Module()
    made.register_buffer("kept", tensor)
    return made


def quantised(value):
    return torch.ao.quantization.quantize_dynamic(filled(nn.Sequential(nn.Linear(3, 2)), value), {nn.Linear})


PLACES = {
    "attribute": lambda value: Holder(torch.full((3,), value)),
    "list of a dictionary": lambda value: Holder({"a": [torch.full((3,), value)]}),
    "array": lambda value: Holder(np.full(3, value)),
    "module that is no child": lambda value: Holder([filled(nn.Linear(2, 2), value)]),
    "attribute of a module that is no child": lambda value: Holder((Holder(torch.full((3,), value)),)),
    "extra state": Extra,
    "sparse": lambda value: buffered(torch.eye(3).mul(value).to_sparse()),
    "sparse, compressed": lambda value: buffered(torch.eye(3).mul(value).to_sparse_csr()),
    "conjugate": lambda value: buffered(torch.full((2,), value + 2j).conj()),
    "quantised": lambda value: buffered(torch.quantize_per_tensor(torch.full((2,), value), value, 0, torch.quint8)),
    "quantised layer": quantised,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("place", PLACES)
def test_weights_count_wherever_they_are_kept(place):
    first, again, other = (contents.contents(PLACES[place](value)) for value in (0.5, 0.5, 0.75))
    assert first == again != other


@pytest.mark.parametrize("make", [lambda: buffered(torch.ones(3, device="meta")), lambda: nn.LazyLinear(3)])
def test_a_tensor_without_numbers_is_refused_in_one_line(make):
    with pytest.raises(BadInput, match=r"tensor (kept|bias) can't be read .*: make it a plain tensor") as refused:
        contents.contents(make(), "theirs:network")
    assert "\n" not in str(refused.value)


def test_a_conjugate_is_hashed_as_the_numbers_that_it_holds():
    lazy, plain = torch.full((2,), 1 + 2j).conj(), torch.full((2,), 1 - 2j)
    assert contents.contents(buffered(lazy)) == contents.contents(buffered(plain))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("hooked", [weight_norm, lambda made: prune.random_unstructured(made, "weight", 0.5)])
def test_what_a_hook_computes_from_weights_is_left_out(hooked):
    names = [name for name, _ in held_tensors.held(hooked(nn.Linear(3, 2)))]
    assert names and "weight" not in names


def test_a_parent_among_the_attributes_of_its_child_ends_the_search():
    made = nn.Sequential(nn.Linear(2, 2))
    made[0].parents = [made]
    assert [name for name, _ in held_tensors.held(made)] == ["0.bias", "0.weight"]


def test_each_tensor_counts_once_whatever_holds_it():
    made = nn.LSTM(2, 2)
    made.me, made.again = [made], {"weights": list(made.parameters())}
    assert [name for name, _ in held_tensors.held(made)] == sorted(name for name, _ in made.named_parameters())


def test_code_from_an_archive_counts(tmp_path, monkeypatch):
    found = []
    for text in ("def network(): pass\n", "def network(): return 1\n"):
        path = str(tmp_path / f"{len(found)}.zip")
        with zipfile.ZipFile(path, mode="w") as archive:
            archive.writestr("zipped/__init__.py", text)
        with monkeypatch.context() as during:
            during.syspath_prepend(path)
            importlib.import_module("zipped")
            found.append(contents.code("zipped:network"))
        del sys.modules["zipped"]
    assert found == [b"def network(): pass\n", b"def network(): return 1\n"]
