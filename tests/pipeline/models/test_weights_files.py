"""Weights as trainings and libraries leave them: loaded where nothing is lost, else refused in a line that says what it is."""

import argparse
import copy
import datetime
import json
import pathlib
import warnings

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint import save as save_parts
from torch.optim.swa_utils import AveragedModel

from pipeline.config.model import Model
from pipeline.errors import BadInput, Remark
from pipeline.models import foreign_weights, loading, weights_files
from tests.support import tiny


def state():
    """Weights that no fresh network of this kind has."""
    return {name: value + 1 for name, value in tiny.network().state_dict().items()}


def loaded(content, path):
    """Save a content with torch and load it into the tiny network: its weights, and what was said."""
    torch.save(content, path)
    return read(path)


def read(path):
    network = tiny.network()
    with warnings.catch_warnings(record=True, action="always", category=Remark) as said:
        foreign_weights.load_into(network, path)
    return network.state_dict(), [str(line.message) for line in said]


def same(found, expected):
    return all(torch.equal(found[name], value) for name, value in expected.items())


def refusal(content, path):
    torch.save(content, path)
    with pytest.raises(BadInput) as raised:
        foreign_weights.load_into(tiny.network(), path)
    assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", ["model_best.pth.tar", "last.ckpt", "pytorch_model.bin"])
def test_a_file_beside_the_campaign_needs_no_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state()}, name)
    model = Model(architecture="tests.support.tiny:network", weights=name, classes=tiny.CLASSES)
    assert loading.weights_file(model) == pathlib.Path(name)
    with pytest.warns(Remark, match="from inside state_dict"):
        assert same(loading.build(model).state_dict(), state())


BESIDE = {
    "argparse.Namespace": argparse.Namespace(lr=0.1, arch="resnet18"),
    "a path": pathlib.Path("runs/1"),
    "a NumPy number": np.float64(0.7),
    "a NumPy array": np.arange(3.0),
    "a time": datetime.datetime(2026, 11, 30),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_settings_and_measurements_beside_weights_are_left_out(tmp_path, beside):
    """timm, Lightning and scripts of everybody's own store them; torch refuses the whole file."""
    path = tmp_path / "w.pth"
    found, _ = loaded({"state_dict": state(), "args": BESIDE[beside], "more": [BESIDE[beside]]}, path)
    assert same(found, state())
    content = weights_files.read(path)
    assert isinstance(content["args"], weights_files.Object) and not vars(content["args"]), "nothing of it is made"
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)


def test_a_checkpoint_that_timm_saves_is_loaded(tmp_path):
    utils = pytest.importorskip("timm.utils", reason="needs timm")
    network = tiny.network()
    network.load_state_dict(state())
    saver = utils.CheckpointSaver(
        network, torch.optim.SGD(network.parameters(), 0.1), args=argparse.Namespace(model="tiny"),
        model_ema=utils.ModelEmaV3(tiny.network()), checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path),
    )  # fmt: skip
    saver.save_checkpoint(0, 0.5)
    found, said = read(tmp_path / "last.pth.tar")
    assert same(found, state()) and "from inside state_dict;" in said[0], "not the average"


class Trap:
    """A call of NumPy that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return np.savetxt, (self.path, [1.0])


def test_what_an_object_would_call_is_not_called(tmp_path):
    found, _ = loaded({"state_dict": state(), "args": Trap(tmp_path / "pwned")}, tmp_path / "w.pth")
    assert same(found, state()) and not (tmp_path / "pwned").exists()


class Settings:
    """An object of a package that nobody knows."""


def test_other_objects_are_refused_by_name_and_not_made(tmp_path):
    line = refusal({"state_dict": state(), "args": Settings()}, tmp_path / "w.pth")
    assert "objects that need code (tests.pipeline.models.test_weights_files.Settings): save the state_dict" in line


def test_a_whole_network_is_refused_by_the_names_of_its_classes(tmp_path):
    assert "objects that need code (collections" not in (line := refusal(tiny.network(), tmp_path / "w.pt"))
    assert "torch.nn.modules" in line and "save the state_dict of its network alone" in line


@pytest.mark.parametrize("wrapper", foreign_weights.WRAPPERS)
def test_wrappers_inside_of_names_are_left_out(tmp_path, wrapper):
    """As of a network of which one layer was compiled."""
    renamed = {(f"1.{wrapper}{name[2:]}" if name.startswith("1.") else name): value for name, value in state().items()}
    assert renamed.keys() != state().keys()
    found, said = loaded(renamed, tmp_path / "w.pt")
    assert same(found, state()) and f"without {wrapper};" in said[0]


def test_a_compiled_layer_is_such_a_network(tmp_path):
    network = tiny.network()
    network.load_state_dict(state())
    network[3] = torch.compile(network[3])
    assert same(loaded(network.state_dict(), tmp_path / "w.pt")[0], state())


def test_torchs_average_of_weights_is_loaded_without_its_count(tmp_path):
    network = tiny.network()
    average = AveragedModel(network)
    average.update_parameters(network)
    network.load_state_dict(state())
    average.update_parameters(network)
    found, said = loaded(average.state_dict(), tmp_path / "w.pt")
    assert torch.allclose(found["0.weight"], tiny.network().state_dict()["0.weight"] + 0.5) and "without module." in said[0]


def test_openmmlabs_two_parts_are_one_network(tmp_path):
    parts = {("head." if name.startswith("7.") else "backbone.") + name: value for name, value in state().items()}
    found, said = loaded({"meta": {"epoch": 1}, "state_dict": parts}, tmp_path / "w.pth")
    assert same(found, state()) and "without backbone. head." in said[0]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_real_numbers_of_other_lengths_are_taken(tmp_path, kind):
    short = {name: value.to(kind) if value.is_floating_point() else value for name, value in state().items()}
    found, _ = loaded(short, tmp_path / "w.pt")
    assert same(found, {name: value.to(found[name].dtype) for name, value in short.items()})


class Sub(torch.Tensor):
    """A tensor that needs code."""


ODD = {
    "int8 in place of real numbers": lambda w: w.to(torch.int8),
    "complex64 in place of real numbers": lambda w: w.to(torch.complex64),
    "tensors that are sparse_coo": lambda w: w.to_sparse(),
    "tensors that are meta": lambda w: w.to("meta"),
    "list in place of a tensor": lambda w: w.tolist(),
    "_reconstruct in place of a tensor": lambda w: w.numpy(),
}


@pytest.mark.parametrize("said", ODD)
def test_other_things_than_real_numbers_are_refused(tmp_path, said):
    """Integers were loaded as weights: the codes of a quantised network in place of its weights."""
    line = refusal(state() | {"7.weight": ODD[said](state()["7.weight"])}, tmp_path / "w.pt")
    assert "w.pt, 7.weight: " in line and said in line


def test_tensors_of_another_kind_are_refused(tmp_path):
    with torch.serialization.safe_globals([Sub]):
        line = refusal(state() | {"7.weight": state()["7.weight"].as_subclass(Sub)}, tmp_path / "w.pt")
    assert "tensors of the kind tests.pipeline.models.test_weights_files.Sub, which need code" in line


def test_counts_may_be_of_any_kind(tmp_path):
    """As in averages, which make real numbers of them."""
    counts = {name: value.double() for name, value in state().items() if "num_batches" in name}
    assert counts and same(loaded(state() | counts, tmp_path / "w.pt")[0], state())


def test_programs_say_what_they_are(tmp_path):
    network = tiny.network().eval()
    torch.jit.script(copy.deepcopy(network)).save(tmp_path / "script.pt")
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 32, 32),)), tmp_path / "program.pt2")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "m.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})
    )
    for name, said in {
        "script.pt": "a TorchScript program", "program.pt2": "an exported program", "arrays.npz": "NumPy arrays",
        "m.onnx": "an ONNX program", "m.safetensors.index.json": "2 files, m-1.safetensors, m-2.safetensors",
    }.items():  # fmt: skip
        with pytest.raises(BadInput, match=f"weights .*{name} are {said}"):
            weights_files.read(tmp_path / name)


def test_a_folder_says_what_to_name(tmp_path):
    model = Model(architecture="tests.support.tiny:network", weights=str(tmp_path), classes=tiny.CLASSES)
    with pytest.raises(BadInput, match="are a folder: name the file in it"):
        loading.weights_file(model)
    save_parts({"model": state()}, checkpoint_id=tmp_path / "parts", no_dist=True)
    with pytest.raises(BadInput, match="are a folder: make one file of it by dcp_to_torch_save"):
        loading.weights_file(model.model_copy(update={"weights": str(tmp_path / "parts")}))
    with pytest.raises(BadInput, match="a part of a distributed checkpoint"):
        weights_files.read(next((tmp_path / "parts").glob("*.distcp")))


def as_stored_by(program, mean, std):
    """The weights as programs of robust learning store them: behind a layer that normalises colours."""
    own, values = state(), [torch.tensor(mean), torch.tensor(std)]
    match program:
        case "robustness":
            layers = {
                "normalizer.new_": [v[:, None, None] for v in values],
                "attacker.normalize.new_": [v[:, None, None] for v in values],
            }
            found = {
                f"module.{name}{part}": v
                for name, pair in layers.items()
                for part, v in zip(("mean", "std"), pair, strict=True)
            }
            copies = {f"module.{copy}model.{name}": value for copy in ("", "attacker.") for name, value in own.items()}
            return {"model": found | copies, "epoch": 7}
        case "RobustBench":
            return dict(zip(("normalize.mean", "normalize.std"), (v[None, :, None, None] for v in values), strict=True)) | {
                f"model.{name}": value for name, value in own.items()
            }
        case "smoothing":
            layer = dict(zip(("0.means", "0.sds"), values, strict=True))
            return {"epoch": 90, "state_dict": layer | {f"1.module.{name}": value for name, value in own.items()}}


PROGRAMS = ("robustness", "RobustBench", "smoothing")


@pytest.mark.parametrize("program", PROGRAMS)
def test_weights_behind_a_layer_that_normalises_colours_are_loaded(tmp_path, program):
    path = tmp_path / "w.pt"
    torch.save(as_stored_by(program, [0.4914, 0.4822, 0.4465], [0.2, 0.21, 0.22]), path)
    model = Model(architecture="tests.support.tiny:network", weights=str(path), classes=tiny.CLASSES)
    model = model.model_copy(update={"mean": (0.4914, 0.4822, 0.4465), "std": (0.2, 0.21, 0.22)})
    with pytest.warns(Remark, match="are taken"):
        assert same(loading.build(model).state_dict(), state())
    for name, other in (("mean", (0.485, 0.456, 0.406)), ("std", (0.2, 0.21, 0.23))):
        with pytest.raises(BadInput, match=rf"a {name} of \[0.*the campaign has .*write {name}: \[0") as raised:
            loading.build(model.model_copy(update={name: other}))
        assert "\n" not in str(raised.value)


def test_a_copy_of_all_weights_must_be_one(tmp_path):
    stored = as_stored_by("robustness", [0.5] * 3, [0.5] * 3)
    stored["model"]["module.attacker.model.0.weight"] = state()["0.weight"] + 1
    assert "hold two networks, as module.model.0.weight and module.attacker.model.0.weight" in refusal(
        stored, tmp_path / "w.pt"
    )


def test_a_network_that_normalises_colours_by_itself_keeps_its_layer(tmp_path):
    class Normalise(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.means, self.sds = (torch.nn.Parameter(torch.full((3,), value)) for value in (0.1, 0.9))

    network = torch.nn.Sequential(Normalise(), tiny.network())
    torch.save({name: value + 1 for name, value in network.state_dict().items()}, tmp_path / "w.pt")
    assert foreign_weights.load_into(network, tmp_path / "w.pt") == []
    assert torch.equal(network[0].means, torch.full((3,), 1.1))


def test_a_file_of_keras_is_named(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(BadInput, match="are an HDF5 file, as of Keras: save its values as tensors"):
        foreign_weights.load_into(tiny.network(), tmp_path / "w.h5")
