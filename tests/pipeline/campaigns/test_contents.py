"""What functions return is held by a hash: edited code, or other weights, never continue a store in silence."""

import importlib
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare, resolve
from pipeline.config import contents
from pipeline.config.campaign import parse
from pipeline.config.defenses import modules
from pipeline.errors import BadInput
from pipeline.models import foreign, loading
from tests.support import tiny
from tests.support.campaigns import ran

NETWORK = """
import torch
from torch import nn
from tests.support import tiny


def network():
    made = tiny.network()
    with torch.no_grad():
        made[0].bias += torch.load({weights!r})
    return made


class Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.load({weights!r}).mean() * 0 + 0.1, persistent=False)

    def forward(self, x):
        return x + self.scale * torch.randn_like(x)
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Return what writes the module `theirs` of a user, whose network reads a file, and makes Python import it anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support,theirs")

    def write(bias=0.0, text=""):
        torch.save(torch.full((8,), bias), tmp_path / "bias.pt")
        (tmp_path / "theirs.py").write_text(NETWORK.format(weights=str(tmp_path / "bias.pt")) + text)
        sys.modules.pop("theirs", None)
        importlib.invalidate_caches()
        modules._module.cache_clear()

    yield write
    sys.modules.pop("theirs", None)


def campaign(pattern, **changed):
    content = tiny.campaign(pattern, **changed)
    content["models"]["net"]["architecture"] = "theirs:network"
    return content


def defended(pattern, wrapped):
    defense = {"kind": "module", "module": "theirs:Noise"}
    defense = {"kind": "compose", "parts": [{"kind": "gaussian", "sigma": 0.01}, defense]} if wrapped else defense
    cells = [{"model": "net", "defense": "mine", "attack": "pgd"}]
    content = tiny.campaign(pattern, cells=cells)
    return content | {"defenses": {"mine": defense}}


@pytest.mark.parametrize("change", [{"bias": 0.5}, {"text": "# a comment\n"}], ids=["weights", "code"])
def test_a_changed_model_of_a_function_is_another_cell(pattern, tmp_path, theirs, change):
    theirs()
    content = campaign(pattern)
    ran(content, tmp_path / "store")
    theirs()
    assert not prepare(parse(content, "c"), str(tmp_path / "store")).todo(), "nothing changed"
    theirs(**change)
    with pytest.raises(ValueError, match=r"model\.contents_sha256 was .*, is .*; use another --store"):
        prepare(parse(content, "c"), str(tmp_path / "store"))


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a row"])
def test_a_changed_module_of_a_defense_is_another_cell(pattern, tmp_path, theirs, wrapped):
    theirs()
    content = defended(pattern, wrapped)
    prepare(parse(content, "c"), str(tmp_path / "store")).with_cuts({}).write_down()
    theirs(text="# a comment\n")
    with pytest.raises(ValueError, match="use another --store"):
        prepare(parse(content, "c"), str(tmp_path / "store"))


def test_a_worker_refuses_another_network_than_the_campaigns(pattern, theirs):
    theirs()
    held = resolve(parse(campaign(pattern), "c")).models["net"]
    loading.build(held)
    theirs(bias=0.5)
    with pytest.raises(ValueError, match=r"theirs:network: its weights or the file of its function changed .* restore them"):
        loading.build(held)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_worker_refuses_another_file_of_weights_than_the_campaigns(pattern, tmp_path, ending):
    weights = tmp_path / f"net.{ending}"
    write = {"pt": torch.save, "safetensors": save_file}[ending]
    state = tiny.network().state_dict()
    write(state, weights)
    content = tiny.campaign(pattern)
    content["models"]["net"]["weights"] = str(weights)
    held = resolve(parse(content, "c")).models["net"]
    assert held.sha256 and loading.build(held)
    write({name: -values for name, values in state.items()}, weights)
    with pytest.raises(BadInput, match=rf"net\.{ending} have SHA-256 .*, expected {held.sha256}"):
        loading.build(held)


def test_a_worker_refuses_another_module_than_the_campaigns(pattern, theirs):
    theirs()
    (held,) = resolve(parse(defended(pattern, wrapped=False), "c")).grid()
    classifier = loading.classifier(resolve(parse(tiny.campaign(pattern), "c")).models["net"], 32, torch.device("cpu"))
    foreign.behind(classifier, held, "it")
    theirs(text="# a comment\n")
    with pytest.raises(ValueError, match="module theirs:Noise: its weights or the file of its function changed"):
        foreign.behind(classifier, held, "it")


def test_weights_that_have_no_use_and_differ_in_each_call_are_taken_without_a_hash(pattern, tmp_path, theirs):
    theirs(text="\n\ndef loose():\n    made = network()\n    made.head = torch.nn.Identity()\n"
           "    made[0].unused = torch.nn.Parameter(torch.rand(3))\n    return made\n")  # fmt: skip
    content = campaign(pattern)
    content["models"]["net"]["architecture"] = "theirs:loose"
    job, _ = ran(content, tmp_path / "store")
    assert job.campaign.models["net"].contents_sha256 is None


def test_edited_code_meets_the_same_draws(pattern, theirs):
    identities = []
    for text in ("", "# a comment\n"):
        theirs(text=text)
        (cell,) = resolve(parse(defended(pattern, wrapped=True), "c")).grid()
        identities.append((cell.identity, cell.defended_identity))
    assert identities[0][0] != identities[1][0] and identities[0][1] == identities[1][1]


def test_a_store_of_before_goes_on_without_a_hash(pattern, tmp_path, theirs, monkeypatch):
    theirs()
    content, url = campaign(pattern), str(tmp_path / "store")
    with monkeypatch.context() as before:
        before.setattr(loading, "with_contents", lambda model: model)
        ran(content, url)
    assert contents.KEY not in opened(url).campaign.models["net"].deciding()
    job = prepare(parse(content, "c"), url)
    assert not job.todo() and job.campaign.models["net"].contents_sha256 is None


def test_the_hash_sees_every_tensor_name_shape_and_type():
    def changed(change):
        made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.fill_(0.5)
        change(made)
        return contents.contents(made)

    changes = [
        lambda made: None,
        lambda made: made[0].weight.data[3, 2].add_(1e-7),
        lambda made: made[1].running_mean.add_(1),
        lambda made: made[1].num_batches_tracked.add_(1),
        lambda made: made.double(),
        lambda made: made.bfloat16(),
        lambda made: setattr(made[0], "weight", nn.Parameter(torch.full((4, 3), 0.5).T.contiguous())),
        lambda made: made[0].register_buffer("more", torch.zeros(1), persistent=False),
    ]
    assert len({changed(change) for change in changes}) == len(changes)
    assert changed(lambda made: None) == changed(lambda made: made.to(memory_format=torch.contiguous_format))
    first, second = (contents.contents(nn.ModuleDict({name: nn.Flatten(), "norm": nn.BatchNorm1d(2)})) for name in "ab")
    other = contents.contents(nn.ModuleDict({"a": nn.Flatten(), "other": nn.BatchNorm1d(2)}))
    assert first == second != other


LOOSE = """

class Loose(nn.Module):
    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.rand(1))

    def forward(self, x, time=None):
        return x * (self.share if {used} else 1) + 0.1 * torch.randn_like(x)
"""


@pytest.mark.parametrize(
    "section", [{"kind": "module"}, {"kind": "purifier", "timestep": 20, "steps": 1}], ids=["module", "purifier"]
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a row"])
def test_a_defense_with_other_weights_in_each_call_is_refused_where_they_count(pattern, tmp_path, theirs, section, wrapped):
    content = defended(pattern, wrapped)
    mine = section | {"module": "theirs:Loose"}
    content["defenses"] = {
        "mine": {"kind": "compose", "parts": [{"kind": "gaussian", "sigma": 0.01}, mine]} if wrapped else mine
    }
    theirs(text=LOOSE.format(used=False))
    assert prepare(parse(content, "c"), str(tmp_path / "store")).cells
    theirs(text=LOOSE.format(used=True))
    with pytest.raises(ValueError, match="module theirs:Loose makes another network in each call, and each worker would"):
        prepare(parse(content, "c"), str(tmp_path / "store"))
