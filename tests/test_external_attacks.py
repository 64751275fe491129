"""The adapters of examples/external_attacks run their libraries, where these are installed, and give what barrage takes."""

import importlib
import importlib.util
import sys
from functools import partial

import pytest
import torch

import bart
from pipeline.config.attacks import External
from pipeline.config.campaign import load
from tests.support.linear_models import linear
from tests.support.source.pages import ROOT

FOLDER = ROOT / "examples" / "external_attacks"
LIBRARIES = {
    "torchattacks": (("torchattacks",), {"steps": 5, "eot_iter": 2}, 10),
    "art": (("art", "sklearn", "cloudpickle", "narwhals"), {"steps": 5}, 5),
    "autoattack": (("pyautoattack",), {"steps": 5, "draws": 2}, 24),
    "adv_lib": (("adv_lib", "visdom"), {"draws": 2}, 202),
    "secml_torch": (("secmlt",), {"steps": 5}, 5),
    "foolbox": (("foolbox",), {"steps": 5}, 5),
}
"""{function: (what it imports, its settings here, draw-gradients that it then takes)}."""


@pytest.fixture
def adapters(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "external_attacks", raising=False)
    return importlib.import_module("external_attacks")


def classified(count=4):
    """Return a linear model, images in 8 bits that it is sure of, and its classes."""
    model, _ = linear()
    x = torch.randint(40, 216, (count, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", list(LIBRARIES))
def test_an_adapter_attacks_repeatably_and_stays_in_the_ball(name, norm, adapters):
    needed, settings, gradients = LIBRARIES[name]
    if missing := [package for package in needed if importlib.util.find_spec(package) is None]:
        pytest.skip(f"needs {', '.join(missing)}: see examples/external_attacks/README.md")
    if norm == "l2" and name == "torchattacks":
        settings, gradients = {"attack": "PGDL2", "steps": 5, "alpha": 0.8}, 5
    model, x, y = classified()
    defended = bart.Defended(bart.Classifier(model, (0.0,) * 3, (1.0,) * 3, (8, 8)), bart.Barrage(1, ("noise", "grey_mix")))
    eps = {"linf": 0.2, "l2": 2.5}[norm]
    attack = bart.External(bart.Ball(norm, eps), partial(getattr(adapters, name), **settings), name, batch=4)

    def ran():
        keys = bart.Mirror.of(torch.arange(4), "cpu")
        return attack.step(attack.start(x, bart.Goal(y, torch.full_like(y, -1)), keys), defended, 64)

    state = ran()
    assert torch.equal(state.x, ran().x), "a random start does not follow the keys"
    assert state.grad_evals.tolist() == [gradients] * 4
    stored = attack.ball.store(state.x, x)
    assert (attack.ball.distance(stored, x) <= eps + 1e-5).all() and (attack.ball.distance(stored, x) > eps / 3).all()
    assert (model(stored / 255).argmax(1) != y).float().mean() >= 0.5, "it does not follow the gradient"


def test_its_campaign_is_sound_and_each_function_has_its_line(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "external_attacks")
    campaign = load(FOLDER / "campaign.yaml")
    external = [attack for attack in campaign.attacks.values() if isinstance(attack, External)]
    assert len(external) == 2 and all(attack.checked().code_sha256 for attack in external)
    text = (FOLDER / "README.md").read_text()
    assert all(f"| `{name}` |" in text for name in LIBRARIES)
