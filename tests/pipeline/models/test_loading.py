"""Check models by name: preprocessing, weights, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import Data, Model, parse
from pipeline.config.framing import Framing
from pipeline.errors import BadInput, Remark
from pipeline.models import admission, architectures, foreign_weights, loading
from tests.support import strangers, tiny

torchvision = pytest.importorskip("torchvision")
TINY = "tests.support.tiny:network"


def section(**changes):
    return Model(**({"architecture": TINY, "classes": tiny.CLASSES} | changes))


def said(model, crop=32):
    """Return the line that refuses a model."""
    with pytest.raises(BadInput) as error:
        network = loading.build(loading.described(loading.checked(model), Data(shards=["x.tar"])))
        admission.tried(network, model, crop)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Write a file of weights of torchvision's ResNet18; return its path."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    torch.manual_seed(1)
    save_file(torchvision.models.resnet18().state_dict(), path)
    return path


def test_the_preprocessing_is_the_librarys_where_the_file_says_nothing(resnet):
    data = Data(shards=["x.tar"])
    found = loading.described(section(architecture="torchvision:resnet18", classes=1000, weights=str(resnet)), data)
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (found.resize, found.crop) == (256, 224)
    own = section(architecture="torchvision:resnet18", classes=1000, weights=str(resnet), mean=(0.1, 0.1, 0.1), crop=160)
    found = loading.described(own, data)
    assert found.mean == (0.1, 0.1, 0.1) and found.std == (0.229, 0.224, 0.225) and (found.resize, found.crop) == (None, 160)
    found = loading.described(own.model_copy(update={"crop": None}), Data(shards=["x.tar"], crop=128))
    assert (found.resize, found.crop) == (None, None), "the data's own sides stand"


def test_inception_wants_larger_images_and_the_article_s_other_means():
    bilinear = Framing("bilinear", "shorter", "torchvision")
    assert architectures.preprocessing("torchvision:inception_v3") == (*architectures.IMAGENET[:2], 342, 299, bilinear)
    pytest.importorskip("timm", reason="needs timm: pip install 'barrage[timm]'")
    half, bicubic = (0.5, 0.5, 0.5), Framing("bicubic", "shorter", "torchvision")
    assert architectures.preprocessing("timm:inception_v3.tf_adv_in1k") == (half, half, 341, 299, bicubic)
    assert architectures.preprocessing(TINY)[:2] == architectures.IMAGENET[:2], "as the function says"
    assert architectures.preprocessing("tests.support.strangers:half") == (None,) * 5, "a function may say nothing"


def test_torchvisions_newer_weights_have_their_own_sides():
    assert architectures.preprocessing("torchvision:resnet50")[2:4] == (256, 224)
    assert architectures.preprocessing("torchvision:resnet50", "IMAGENET1K_V2")[2:4] == (232, 224)


def test_cells_of_one_campaign_may_have_images_of_different_sides(pattern, tmp_path):
    nets = {"net": {"architecture": TINY, "classes": tiny.CLASSES}}
    nets["large"] = nets["net"] | {"crop": 36}
    cells = [{"model": ["net", "large"], "defense": "none", "attack": "pgd"}]
    found = prepare(parse(tiny.campaign(pattern, models=nets, cells=cells), "c"), str(tmp_path / "store")).cells
    assert {cell.model_name: (cell.resize, cell.crop) for cell in found.values()} == {"net": (None, 32), "large": (None, 36)}
    assert len({cell.identity for cell in found.values()}) == 2
    campaign = prepare(parse(tiny.campaign(pattern, models={"net": nets["net"]}), "c"), str(tmp_path / "store")).campaign
    explicit = nets["net"] | {"crop": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    again = prepare(parse(tiny.campaign(pattern, models={"net": explicit}), "c"), str(tmp_path / "store")).campaign
    same = [cell.identity for cell in campaign.grid()] == [cell.identity for cell in again.grid()]
    assert same, "what is said and what is filled in are one"


WRAPPED = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "ema": {name: 0 * value for name, value in s.items()}},
    "model_state": lambda s: {"model_state": s, "optimizer": {"state": {}}},
    "ema": lambda s: {"ema": s, "args": {"lr": 0.1}},
    "deep": lambda s: {"checkpoint": 1, "ema": {"module": s, "decay": 0.9}},
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_checkpoints_of_other_programs_are_unwrapped_and_it_is_said(tmp_path, recwarn, wrap, prefix):
    state = {name: value + 1 for name, value in tiny.network().state_dict().items()}
    torch.save(WRAPPED[wrap]({prefix + name: value for name, value in state.items()}), tmp_path / "w.pt")
    found = loading.build(section(weights=str(tmp_path / "w.pt"))).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)
    said = [str(warning.message) for warning in recwarn if issubclass(warning.category, Remark)]
    assert len(said) == (wrap != "bare" or prefix != "")
    if said:
        assert all(part + "." in said[0] for part in prefix.split(".")[:-1]) and f"the file holds {prefix}0.weight" in said[0]
        assert wrap in ("bare", "deep") or f"from inside {wrap}" in said[0]


def test_names_that_begin_like_a_prefix_are_kept_where_the_network_has_them(tmp_path):
    """A network may call a part of its own `model` or `module`."""
    state = {"inner." + name: value + 1 for name, value in tiny.network().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    network = strangers.Around()
    foreign_weights.load_into(network, tmp_path / "w.pt")
    assert torch.equal(network.state_dict()["inner.0.weight"], state["inner.0.weight"])
    named = torch.nn.ModuleDict({"model": tiny.network()})
    torch.save(named.state_dict(), tmp_path / "w.pt")
    foreign_weights.load_into(named, tmp_path / "w.pt")


@pytest.mark.parametrize("others", ["module.", "net.", ""])
def test_a_checkpoint_of_two_networks_is_refused(tmp_path, others):
    """As of a student and a teacher: whichever came last was loaded."""
    state = tiny.network().state_dict()
    both = {"model." + name: value for name, value in state.items()} | {
        others + name: value + 1 for name, value in state.items()
    }
    torch.save({"state_dict": both}, tmp_path / "w.pt")
    line = said(section(weights=str(tmp_path / "w.pt")))
    assert f"hold two networks, as model.0.weight and {others}0.weight are both 0.weight" in line


def test_a_refused_checkpoint_shows_its_own_keys(tmp_path):
    torch.save({"state_dict": {"encoder.stem.weight": torch.zeros(3), "encoder.stem.bias": torch.zeros(3)}}, tmp_path / "w.pt")
    line = said(section(weights=str(tmp_path / "w.pt")))
    assert "missing 0.weight" in line and "the file holds encoder.stem.weight, encoder.stem.bias" in line
    state = tiny.network().state_dict() | {"7.weight": torch.full((10, 16), torch.nan)}
    torch.save(state, tmp_path / "w.pt")
    assert "NaN or infinite values in 7.weight" in said(section(weights=str(tmp_path / "w.pt")))


@pytest.mark.slow
def test_auxiliary_outputs_of_inception_are_left_out(tmp_path):
    """Torchvision's weights include the auxiliary heads, and name the input transform of their training."""
    whole = torchvision.models.inception_v3(aux_logits=True, transform_input=True, init_weights=False).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pt")
    model = section(architecture="torchvision:inception_v3", classes=1000, weights=str(tmp_path / "w.pt"))
    network = loading.build(model).eval()
    x = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(x), whole(x), atol=1e-5)
        assert isinstance(network.train()(x.repeat(2, 1, 1, 1)), torch.Tensor)


def test_random_weights_are_for_trainings_and_follow_their_seed():
    model = section(architecture="resnet18_cifar", weights="random")
    assert "random weights" in said(model)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b, c = (loading.build(model, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state), "the global generator is untouched"
    assert all(torch.equal(a[name], b[name]) for name in a) and not torch.equal(a["conv1.weight"], c["conv1.weight"])
    with torch.no_grad():
        network = loading.build(model, 1).eval()
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
        assert network.layer1(network.maxpool(network.conv1(torch.zeros(1, 3, 32, 32)))).shape[2:] == (32, 32)


def page(tmp_path, text=b"<!DOCTYPE html><html>sign in</html>", name="w.pt"):
    (tmp_path / name).write_bytes(text)
    return str(tmp_path / name)


def test_what_is_not_the_models_weights_is_refused_in_one_line(tmp_path, resnet):
    assert "an HTML page" in said(section(weights=page(tmp_path)))
    assert "an HTML page" in said(section(weights=page(tmp_path, name="w.safetensors")))
    assert "no weights file" in said(section(weights=page(tmp_path, resnet.read_bytes()[:5000], "cut.safetensors")))
    assert "do not fit the architecture" in said(section(weights=str(resnet)))
    torch.save([1, 2], tmp_path / "list.pt")
    assert "do not fit the architecture" in said(section(weights=str(tmp_path / "list.pt")))
    other = {"architecture": "torchvision:resnet18", "weights": str(resnet)}
    assert "size mismatch for fc.weight" in said(section(**other, classes=10))
    assert "do not exist" in said(section(weights=str(tmp_path / "none.pt")))


def test_unknown_names_are_refused_with_the_nearest():
    assert "did you mean 'resnet18'" in said(section(architecture="torchvision:resnet81", weights="DEFAULT"))
    assert "one of DEFAULT, IMAGENET1K_V1" in said(section(architecture="torchvision:resnet18", weights="IMAGENET_V1"))
    assert "has no weights" in said(section(architecture="torchvision:resnet18"))
    assert "expected efficientnet_lite0" in said(section(architecture="resnet"))
    assert "returned dict, expected a torch module" in said(section(architecture="tests.support.tiny:campaign_of_nothing"))
    assert "expected a file, which ends in .pt" in said(section(weights="DEFAULT"))
    pytest.importorskip("timm")
    assert "did you mean 'inception_v3.tf_adv_in1k'" in said(
        section(architecture="timm:inception_v3.tf_adv_in1", weights="yes")
    )


def test_weights_that_can_not_be_fetched_are_one_line(monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    line = said(section(architecture="torchvision:resnet18", classes=1000, weights="DEFAULT"))
    assert "could not be fetched (OSError: no route to host)" in line and "name a file" in line


def test_images_that_a_network_can_not_take_are_refused(resnet):
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(1, 10) if x.shape[-1] == 64 else (_ for _ in ()).throw(RuntimeError("wrong\nsize"))

    with pytest.raises(BadInput, match="cannot take images of 32 px"):
        admission.tried(Fixed(), section(), 32)
    admission.tried(Fixed(), section(), 64)
    with pytest.raises(BadInput, match="does not return logits"):
        admission.tried(torch.nn.Identity(), section(), 32)
    assert Path(resnet).is_file()
