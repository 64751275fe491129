"""A program may set other defaults than torch's for the type and device of new tensors; no number may follow them."""

import ast

import pytest
import torch

from bart import BART_25, Ball, Barrage, Classifier, Defended, Eot, Goal, Pgd, attack, judge
from bart.defenses import Dropout, FeatureNoise
from pipeline.config.attacks import KINDS
from pipeline.config.campaign import parse
from tests.support import tiny
from tests.support.contracts.defenses import coarse, images, mirror
from tests.support.defenses import CONSTANT, RANDOM
from tests.support.foreign import NEEDED
from tests.support.linear_models import LABEL, assert_same, behind, linear, run
from tests.support.linear_models import images as small
from tests.support.linear_models import mirror as keys
from tests.support.source.imports import ROOT

DEFENSES = {
    "feature_noise": FeatureNoise(("2",), 0.2, "weight", relative=True),
    "dropout": Dropout(("1",), 0.3),
    **{name: defense for name, defense in (RANDOM | CONSTANT).items() if "module" not in name and name != "purifier"},
    **{name: Barrage(1, (name,)) for name in BART_25},
}
"""Not those with a stranger's code, which may follow the program's defaults."""

SECTIONS = {kind: {"kind": kind, "eps": "8/255"} for kind in KINDS.builtin if kind not in NEEDED} | {
    "sigma_zero": {"kind": "sigma_zero", "eps": 20, "steps": 4},
    "apgd in l1": {"kind": "apgd", "norm": "l1", "eps": 6, "steps": 4},
    "pgd in l2": {"kind": "pgd", "norm": "l2", "eps": 1, "restarts": 2, "steps": 2},
    "low frequencies": {"eps": "8/255", "kind": "pgd", "frequencies": 0.2, "steps": 2},
}


@pytest.fixture(params=["float64", "meta"])
def change(request):
    """Return what sets other defaults: double precision, or a device without memory."""

    def changed():
        if request.param == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64)

    yield changed
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", DEFENSES)
def test_a_defense_follows_no_default_of_the_program(name, change):
    x, net = images(3), Classifier(coarse(), (0.5,) * 3, (0.25,) * 3, (20, 24), folded=False)
    key, goal, steps = (
        mirror(3),
        Goal(net(x).argmax(1), torch.full((3,), -1)),
        Pgd(Ball("linf", 8 / 255), 2, 4 / 255, eot=Eot(2)),
    )

    def outcome():
        defended = Defended(net, DEFENSES[name])
        state = run(steps, steps.start(x, goal, key), defended, 2)
        verdict = judge(defended, steps.ball.store(state.x, x), key, 3, stack=64)
        return state, verdict.top5, verdict.margin(goal.label)

    state, top5, margin = outcome()
    change()
    again, *verdict = outcome()
    assert_same(state, again)
    assert torch.equal(top5, verdict[0]) and torch.equal(margin, verdict[1])


@pytest.mark.parametrize("name", SECTIONS)
def test_an_attack_follows_no_default_of_the_program(name, change):
    (cell, *_) = parse(tiny.campaign("x.tar", attacks={"pgd": SECTIONS[name]}), "c").grid()
    defended, x, state = behind(linear()[0], 2), small(), keys()
    goal = Goal(LABEL, torch.tensor([-1, 3, -1, 0]))

    def outcome():
        return run(cell.built, cell.built.start(x, goal, state), defended, min(3, cell.built.steps))

    before = outcome()
    change()
    assert_same(before, outcome())


def test_one_call_follows_no_default_of_the_program(change):
    x, model = (255 * images(3)).round().byte(), coarse()
    label = torch.tensor([0, 1, 2])
    before = attack(model, x, label, defense=Barrage(2), draws=3)
    change()
    again = attack(model, x, label, defense=Barrage(2), draws=3)
    assert torch.equal(before.examples, again.examples) and str(before) == str(again)


FLOATS = ("empty", "zeros", "ones", "full", "tensor", "linspace", "eye", "rand", "randn")
OTHERS = ("arange", "randint", "randperm", "empty_strided", "logspace")


def unsaid(call):
    """Return what a call that creates a tensor leaves to the program's defaults."""
    given = {keyword.arg for keyword in call.keywords}
    name = call.func.attr if ast.unparse(call.func).startswith("torch.") else ""
    wanted = {"dtype", "device"} if name in FLOATS else {"device"} if name in OTHERS else set()
    return wanted - given if None not in given else set()


def test_every_new_tensor_says_its_type_and_device():
    """On a GPU too, which no test of a CPU sees."""
    calls = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", unsaid(node))
        for package in ("bart", "pipeline")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert len(calls) > 5000
    assert [place for place, missing in calls if missing] == []
