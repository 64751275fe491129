"""Every kind of attack of a campaign file runs through the engine, and its settings reach the attack."""

import pytest
import torch

import bart
from pipeline.campaigns.verification.verify import verify
from pipeline.config.attacks import KINDS
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from pipeline.models import admission
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.foreign import NEEDED

SMALL = {
    "pgd": {"steps": 3, "momentum": 0.5, "restarts": 2, "restart_draws": 2},
    "fgsm": {},
    "aggmo": {"steps": 3},
    "apgd": {"steps": 4, "loss": "dlr"},
    "dual_averaging": {"steps": 4, "loss": "margin"},
    "standard": {"budget": 20},
    "sigma_zero": {"steps": 4, "eps": 20},
    "lbfgs": {"steps": 6, "searches": 2},
    "square": {"steps": 4},
    "spsa": {"steps": 2, "pairs": 2},
    "pop_skip_jump": {"steps": 2, "queries": 6},
    "noise": {"steps": 2},
}
WITHOUT_DRAWS = ("standard", "pop_skip_jump")
"""Kinds that set the draws of a gradient or a query themselves."""


def test_every_kind_is_tried():
    """Those of others have tests of their own: test_external.py and test_judge.py."""
    assert list(KINDS.builtin) == [*SMALL, *NEEDED]


@pytest.mark.parametrize("kind", SMALL)
def test_a_campaign_of_each_kind_runs_and_counts_what_it_spends(kind, tmp_path, pattern):
    draws = {} if kind in WITHOUT_DRAWS else {"eot_draws": 2}
    attack = {"kind": kind, "eps": "8/255", **draws, **SMALL[kind]}
    content = tiny.campaign(pattern) | {"attacks": {"pgd": attack}, "evaluation_draws": 2}
    content["data"] = content["data"] | {"limit": 3}
    job, outcome = ran(content, tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job)) == []
    rows = results(job.store).to_pylist()
    assert len(rows) == 6
    for row in rows:
        cell = job.cells[row["cell"]]
        assert row["steps"] == cell.built.steps
        grads, forwards = row["grad_evals"], row["forward_evals"] - 2 * cell.judged_by
        assert (grads, forwards) == cell.cost or (kind == "standard" and grads + forwards / 3 <= 20)
        assert row["policy"] == ("none" if kind in ("square", "spsa", "pop_skip_jump", "noise") else "combo")
        assert 0 < row["linf"] <= 8 / 255 + 1e-6 or kind in ("lbfgs", "sigma_zero")


def test_settings_reach_the_attack(pattern):
    def built(**attack):
        campaign = parse(tiny.campaign(pattern) | {"attacks": {"pgd": {"kind": "pgd", "eps": "8/255"} | attack}}, "c.yaml")
        return [cell.built for cell in campaign.grid()]

    none, defended = built(kind="apgd", eot_draws=7, loss="margin", policy="identity", steps=9)
    assert (none.eot.draws, defended.eot.draws) == (1, 7)
    assert (defended.steps, defended.eot.loss, defended.eot.policy) == (9, "margin", "identity")
    _, dual = built(kind="dual_averaging", steps=8, loss="margin")
    assert (dual.eot.draws, dual.eot.loss, dual.eot.unit, dual.steps) == (5, "margin", True, 8)
    with pytest.raises(BadInput, match="mean_logits' with unit gradients: expected a mean over draws: per_draw"):
        built(kind="dual_averaging", estimator="mean_logits")
    _, transfer = built(transfer=True, restarts=3, eot_draws=5)
    assert isinstance(transfer, bart.Transfer) and isinstance(transfer.attack, bart.Restarts)
    assert transfer.attack.attack.eot.draws == 1 and transfer.steps == 120  # type: ignore[attr-defined]
    _, aggmo = built(kind="aggmo")
    assert (aggmo.eot.estimator, aggmo.eot.loss, aggmo.eot.fixed_order) == ("mean_logits", "margin", True)


def test_first_break_leaves_earlier_and_says_when(tmp_path, pattern):
    attack = {"eps": "32/255", "steps": 12, "step_size": "8/255", "eot_draws": 2, "mode": "first_break", "break_draws": 2}
    content = tiny.campaign(pattern, workers={"stack": 4}) | {"attacks": {"pgd": attack}, "evaluation_draws": 2}
    job, _ = ran(content, tmp_path / "store")
    assert list(verify(job)) == []
    rows = results(job.store).to_pylist()
    left = [row for row in rows if row["first_break"] is not None]
    assert left and {row["mode"] for row in rows} == {"first_break"}
    for row in rows:
        steps = row["first_break"] or 12
        cell = job.cells[row["cell"]]
        assert row["grad_evals"] == steps * cell.eot_draws
        assert row["forward_evals"] == 2 * steps + 2 * cell.judged_by


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ({"kind": "pgdd", "eps": 0.1}, "pgd: unknown attack kind 'pgdd'; did you mean 'pgd'"),
        ({"kind": "apgd", "eps": 0.1, "stepz": 3}, "stepz: unknown key; did you mean 'steps'"),
        ({"kind": "noise", "eps": 0.1, "loss": "ce"}, "loss: unknown key"),
        ({"eps": 0.1, "momentum": 2}, "momentum"),
    ],
)
def test_bad_settings_are_one_line(attack, message, pattern):
    with pytest.raises(BadInput, match=message):
        parse(tiny.campaign(pattern) | {"attacks": {"pgd": attack}}, "c.yaml")


def test_an_attack_that_follows_gradients_refuses_a_model_without_one_before_the_run(barrage, write, tmp_path, pattern):
    store = tmp_path / "store"
    content = tiny.campaign(pattern, models={"net": {"architecture": "tests.support.tiny:Decides", "classes": tiny.CLASSES}})
    code, _, err = barrage("run", write(content), "--here", "--store", str(store))
    assert (
        code == 2 and "attack pgd follows gradients, and net has none" in err and "square, spsa, pop_skip_jump or noise" in err
    )
    assert not store.exists()
    content |= {"attacks": {"pgd": {"kind": "noise", "eps": "8/255", "steps": 2, "eot_draws": 2}}}
    assert barrage("run", write(content), "--here", "--store", str(store))[0] == 0


def test_a_loss_that_needs_more_classes_than_the_model_has_is_refused(pattern):
    content = tiny.campaign(pattern, models={"net": {"architecture": "tests.support.tiny:network", "classes": 3}})
    content["attacks"] = {name: {"eps": 0.1, "loss": name} for name in ("dlr", "margin")}
    content["cells"] = [{"model": "net", "defense": "none", "attack": ["dlr", "margin"]}]
    refused, fits = parse(content, "c.yaml").grid()
    three = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3))
    loaded = bart.Classifier(three, (0.0,) * 3, (1.0,) * 3, (32, 32))
    with pytest.raises(BadInput, match="attack dlr needs a model with at least 4 classes, net has 3: use another loss"):
        admission.attackable(loaded, [refused])
    admission.attackable(loaded, [fits])
