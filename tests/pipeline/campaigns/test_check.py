"""The checks: what they run, what they say of accuracies, and the command on a small campaign."""

import json
from typing import Any

import pytest
import torch

import bart
from pipeline.campaigns import check
from pipeline.campaigns.check.judgement import passed
from pipeline.campaigns.prepare import prepare
from pipeline.config.attacks import Standard
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from pipeline.store.rows import results
from tests.support import strangers, tiny


def campaign(pattern, **attack):
    content = tiny.campaign(pattern)
    settings = {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2, "momentum": 0} | attack
    return parse(content | {"attacks": {"pgd": settings}, "evaluation_draws": 2}, "c.yaml")


def cell(pattern):
    return check.chosen(campaign(pattern), None)


def said(checks, name, **accuracies):
    """The verdict of one check on accuracies of ten images each."""
    (one,) = (c for c in checks if c.name == name)
    found = {n: {str(i): float(v[i] if isinstance(v, list) else v) for i in range(10)} for n, v in accuracies.items()}
    return passed([one.judge(found)])[0]


def test_the_cell_with_the_most_transforms_is_checked_unless_another_is_named(pattern):
    assert cell(pattern).name == "net-bart2-pgd"
    assert check.chosen(campaign(pattern), "net-none-pgd").defense.cost == 0
    with pytest.raises(BadInput, match="net-none-fgsm.*net-none-pgd, net-bart2-pgd"):
        check.chosen(campaign(pattern), "net-none-fgsm")
    noise = parse(tiny.campaign(pattern) | {"attacks": {"pgd": {"kind": "noise", "eps": 0.1}}}, "c.yaml")
    with pytest.raises(BadInput, match="nothing to check"):
        check.chosen(noise, None)


@pytest.mark.parametrize(
    ("name", "variant"),
    [("undefended", "none"), ("randomness frozen", "frozen"), ("planted weakness", "planted"), ("unbounded", "eps-1"),
     ("grey_mix alone", "only-grey_mix")],
)  # fmt: skip
def test_what_must_fall_must_fall(pattern, name, variant):
    every = list(check.checks(cell(pattern)))
    assert said(every, name, base=0.5, **{variant: 0.0}) is True
    assert said(every, name, base=0.5, **{variant: 0.1}) is False


def test_rivals_have_the_policy_of_the_attack_and_are_not_the_attack_itself(pattern):
    told = cell(pattern)
    told = told.model_copy(update={"attack": told.attack.model_copy(update={"momentum": 0.9, "policy": "identity"})})
    every: dict[str, Any] = {c.name: c for c in check.checks(told)}
    assert list(every["momentum"].variants) == ["aggmo"]
    assert every["momentum"].variants["aggmo"].attack.policy == "identity"
    assert every["single step"].variants["fgsm"].attack.policy == "identity"


@pytest.mark.parametrize(
    ("name", "rivals"),
    [("twice the steps", ["steps-x2"]), ("twice the draws", ["draws-x2"]), ("another start", ["restarts-2"]),
     ("single step", ["fgsm"]), ("draws for steps", ["steps-quarter"]), ("losses", ["loss-margin"]),
     ("gradient policies", ["policy-identity"]), ("momentum", ["momentum", "aggmo"]), ("standard attack", ["standard"]),
     ("controls", ["noise", "spsa", "transfer"])],
)  # fmt: skip
def test_no_rival_may_beat_the_attack(pattern, name, rivals):
    every = list(check.checks(cell(pattern)))
    assert said(every, name, base=0.5, **dict.fromkeys(rivals, 0.5)) is True
    assert said(every, name, base=0.5, **dict.fromkeys(rivals, 0.9)) is True, "a weaker rival is no fault"
    for rival in rivals:
        assert said(every, name, base=0.5, **(dict.fromkeys(rivals, 0.5) | {rival: 0.3})) is False
        noisy = [0.0, 1.0] * 4 + [0.0, 0.0]
        assert said(every, name, base=[1.0, 0.0] * 4 + [1.0, 1.0], **(dict.fromkeys(rivals, 1.0) | {rival: noisy})) is True


def test_the_standard_attack_is_checked_by_twice_its_budget_and_by_other_attacks(pattern):
    settings = {"eps": "8/255", "budget": 60, "policy": "identity"}
    content = tiny.campaign(pattern) | {"attacks": {"pgd": settings}}
    told = check.chosen(parse(content, "c.yaml"), None)
    every = {c.name: c for c in check.checks(told)}
    assert {"twice the draws", "another start", "losses", "draws for steps", "standard attack"}.isdisjoint(every)
    twice = every["twice the steps"].variants["steps-x2"].attack
    assert twice == told.attack.model_copy(update={"budget": 120})
    momentum: Any
    transfer: Any
    momentum, transfer = every["momentum"].variants["momentum"].attack, every["controls"].variants["transfer"].attack
    assert momentum.kind == transfer.kind == "pgd" and momentum.steps * momentum.eot_draws == 60 and transfer.transfer
    for one in every.values():  # what runs must be a section of a campaign file
        for variant in one.variants.values():
            assert type(variant.attack).model_validate(variant.attack.model_dump()) == variant.attack


def test_another_attack_is_held_to_the_standard_attack_with_as_many_gradients(pattern):
    (one,) = (
        c for c in check.checks(check.chosen(campaign(pattern, restarts=3, policy="identity"), None)) if "standard" in c.name
    )
    assert one.variants["standard"].attack == Standard(eps="8/255", budget=2 * 2 * 3, policy="identity")


def test_accuracy_must_not_rise_with_eps(pattern):
    every = list(check.checks(cell(pattern)))
    curve = {"eps-x0.25": 0.8, "eps-x0.5": 0.7, "base": 0.6, "eps-x2": 0.2}
    assert said(every, "eps curve", **curve) is True
    for a, b in (("eps-x0.25", 0.5), ("eps-x0.5", 0.4), ("base", 0.1)):
        assert said(every, "eps curve", **(curve | {a: b})) is False


def test_chance_is_left_at_a_half(pattern):
    every = list(check.checks(cell(pattern)))
    assert said(every, "eps = 0.5", base=0.5, **{"eps-half": 0.1}) is True  # ten classes
    assert said(every, "eps = 0.5", base=0.5, **{"eps-half": 0.2}) is False


def test_every_variant_differs_from_the_cell_in_what_its_name_says(pattern):
    base = cell(pattern)
    variants: dict[str, Any] = {name: v for c in check.checks(base) for name, v in c.variants.items()}
    assert variants["steps-x2"].attack.steps == 4 and variants["draws-x2"].attack.eot_draws == 4
    assert variants["steps-quarter"].attack.eot_draws == 8 and variants["restarts-2"].attack.restarts == 2
    assert variants["eps-1"].attack.eps == 1 and variants["eps-1"].attack.step_size == pytest.approx(0.5)
    assert variants["transfer"].attack.transfer and variants["policy-identity"].attack.policy == "identity"
    assert variants["frozen"].defense.frozen and variants["planted"].defense.planted and variants["none"].defense.k == 0
    assert variants["only-grey_mix"].defense.transforms == ("grey_mix",) and variants["only-grey_mix"].defense.k == 1
    identities = [(v.defense, v.attack) for v in variants.values()]
    assert (base.defense, base.attack) not in identities and len({repr(i) for i in identities}) == len(identities)


def test_the_command_runs_every_check_and_keeps_what_it_found(pattern, barrage, write, tmp_path):
    content = tiny.campaign(pattern) | {"evaluation_draws": 2}
    content["attacks"] = {"pgd": {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2}}
    code, out, _ = barrage("check", write(content), "--here", "--images", "2", "--store", tmp_path / "store")
    assert code in (0, 1)
    url = tmp_path / "store" / "check" / "net-bart2-pgd"
    found = json.loads((url / "check.json").read_text())
    names = [c["name"] for c in found["checks"]]
    assert names[:2] == ["gradients", "model"] and set(names[2:]) == {c.name for c in check.checks(cell(pattern))}
    assert found["cell"] == "net-bart2-pgd" and all(c["why"] and c["figures"] for c in found["checks"])
    assert code == int(any(c["passed"] is False for c in found["checks"]))
    assert out.count("pass") + out.count("FAIL") >= len(names) - 1
    rows = results(str(url)).num_rows
    assert barrage("check", tmp_path / "campaign.yaml", "--here", "--images", "2", "--store", tmp_path / "store")[0] == code
    assert results(str(url)).num_rows == rows, "it began again"


def test_an_undefended_model_is_checked_too_without_what_only_randomness_has(pattern, barrage, write, tmp_path):
    content = tiny.campaign(pattern) | {"evaluation_draws": 2, "defenses": {"none": {"k": 0}}}
    content["cells"] = [{"model": "net", "defense": "none", "attack": "pgd"}]
    content["attacks"] = {"pgd": {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2}}
    every = {c.name: c for c in check.checks(check.chosen(parse(content, "c.yaml"), None))}
    assert not every.keys() & {"undefended", "randomness frozen", "twice the draws", "draws for steps", "gradient policies"}
    assert not [name for name in every if name.endswith(" alone")], "no transform is a part of no defense"
    assert list(every["controls"].variants) == ["noise", "spsa", "square"], "a transfer would attack the same model"
    assert barrage("check", write(content), "--here", "--images", "2", "--store", tmp_path / "store")[0] in (0, 1)
    found = json.loads((tmp_path / "store" / "check" / "net-none-pgd" / "check.json").read_text())["checks"]
    assert {c["name"] for c in found} == {"gradients", "model", *every}
    assert next(c for c in found if c["name"] == "model")["figures"] == "100 % of images have a gradient"


HIDING = {
    "random": "random", "saturated": "saturation", "clamped": "clamp", "quantised": "quantisation",
    "nan_logits": "logits not finite",
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("k", [0, 2])
def test_the_check_tells_what_hides_the_gradient(pattern, name, k):
    """The models are those that are refused; here they are checked on the images, as if they had come in."""
    told = next(c for c in campaign(pattern).grid() if c.defense.cost == k)
    classifier = bart.Classifier(getattr(strangers, name)(), (0.0,) * 3, (1.0,) * 3, (32, 32))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    keys = bart.Mirror.of(torch.arange(3), "cpu")
    with torch.no_grad():
        label = classifier(images).nan_to_num().argmax(1)
    found = check.hidden(told, check.Sample(told.defense.defended(classifier, {}), images, label, keys, 4))
    assert not found.passed and f"{HIDING[name]} " in found.figures and HIDING[name] in found.why


def test_a_loss_that_is_only_a_control_may_be_blind(pattern, tmp_path):
    """A saturated model under the margin is fine; that its cross-entropy is blind is what the check is there to show."""
    net = {"architecture": "tests.support.strangers:saturated", "classes": tiny.CLASSES, "mean": [0] * 3, "std": [1] * 3}
    attacks = {"pgd": {"eps": 0.1, "steps": 2, "loss": "margin"}}
    config = parse(tiny.campaign(pattern, models={"net": net}, attacks=attacks), "c.yaml")
    variants = check.campaign_of(config, check.chosen(config, "net-none-pgd"), 2)
    assert "loss-ce" in variants.attacks
    prepare(variants, str(tmp_path / "store"), controls=variants.attacks.keys() - {check.BASE})
    with pytest.raises(BadInput, match="saturation"):
        prepare(variants, str(tmp_path / "store"))
