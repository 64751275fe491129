"""Presets are names for settings: cells have the identity of what the name stands for, and files may override each key."""

import pytest
from jsonschema import Draft202012Validator

from pipeline.config import schema
from pipeline.config.attacks import PRESETS, meaning
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from tests.support import tiny

WRITTEN = {
    "article": {"steps": 40, "eot_draws": 40, "momentum": 0},
    "sitawarin": {"kind": "aggmo", "eps": "16/255", "steps": 1000, "step_size": 0.005, "eot_draws": 10},
    "gao": {"kind": "apgd", "steps": 200, "eot_draws": 1},
    "purification": {"eps": "8/255", "steps": 200, "eot_draws": 20, "momentum": 0},
    "diffbreak": {"kind": "apgd", "eps": "8/255", "steps": 100, "eot_draws": 128, "loss": "margin"},
}
"""What each stands for, from its source, where it differs from the default of its kind."""


def cells(attack):
    """Return the cells of a campaign whose attack has these settings."""
    return list(parse(tiny.campaign("x.tar", attacks={"pgd": attack}), "c.yaml").grid())


def fits(attack):
    content = tiny.campaign("x.tar", attacks={"pgd": attack})
    return not list(Draft202012Validator(schema.campaign()).iter_errors(content))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_name_for_settings(name):
    named, written = cells({"eps": "4/255", "preset": name}), cells(WRITTEN[name] | {"eps": "4/255"})
    assert [cell.identity for cell in named] == [cell.identity for cell in written]
    assert named == written and "preset" not in named[0].attack.model_dump()


@pytest.mark.parametrize("name", PRESETS)
def test_a_radius_comes_with_a_preset_only_where_its_source_states_one(name):
    if "eps" in WRITTEN[name]:
        assert cells({"preset": name})[0].attack == cells(WRITTEN[name])[0].attack and fits({"preset": name})
    else:
        with pytest.raises(BadInput, match=r"attacks\.pgd\.eps: is missing: add it"):
            cells({"preset": name})
        assert not fits({"preset": name})


def test_keys_of_the_file_override_those_of_the_preset():
    found = cells({"preset": "sitawarin", "steps": 50, "loss": "ce", "norm": "l2", "eps": 1})
    wanted = cells({"kind": "aggmo", "norm": "l2", "eps": 1, "steps": 50, "step_size": 0.005, "eot_draws": 10, "loss": "ce"})
    assert [cell.identity for cell in found] == [cell.identity for cell in wanted]
    assert cells({"preset": "gao", "kind": "apgd", "eps": 0.1}) == cells({"preset": "gao", "eps": 0.1})


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ({"preset": "goa", "eps": 0.1}, r"attacks\.pgd: unknown preset 'goa'; did you mean 'gao'\?"),
        ({"preset": "xyz", "eps": 0.1}, "unknown preset 'xyz'; known are article, sitawarin, gao, purification, diffbreak"),
        ({"preset": ["gao"], "eps": 0.1}, "unknown preset"),
        ({"preset": "gao", "kind": "pgd", "eps": 0.1}, "kind 'pgd': preset gao is of kind apgd; leave out kind"),
        ({"preset": "gao", "eps": 0.1, "momentum": 0}, "momentum: unknown key"),
        ({"prest": "gao", "eps": 0.1}, r"prest: unknown key; did you mean 'preset'\?"),
    ],
)
def test_what_is_wrong_is_one_line_for_reader_and_schema(attack, message):
    with pytest.raises(BadInput, match=message) as error:
        cells(attack)
    assert len(str(error.value).splitlines()) == 1
    assert not fits(attack)


@pytest.mark.parametrize(
    "attack", [{"preset": "gao", "eps": "8/255"}, {"preset": "gao", "kind": "apgd", "eps": 0.1, "steps": 3}]
)
def test_the_schema_takes_presets(attack):
    cells(attack)
    assert fits(attack)


def test_a_line_says_what_a_preset_means_and_what_is_the_files_own():
    attacks = {"pgd": {"eps": 0.1}, "mine": {"preset": "gao", "steps": 20, "eps": "8/255"}, "s": {"preset": "sitawarin"}}
    mine, whole = meaning(attacks)
    assert mine == (
        "attack mine: preset gao (Gao et al., NeurIPS 2022) means "
        "kind: apgd, eot_draws: 1, loss: ce; own: steps: 20, eps: 8/255"
    )
    assert whole.endswith("means kind: aggmo, eps: 16/255, steps: 1000, step_size: 0.005, eot_draws: 10, loss: margin, "
                          "estimator: mean_logits, fixed_order: true")  # fmt: skip


def test_plan_prints_what_a_preset_means(barrage, write, pattern):
    content = tiny.campaign(pattern, attacks={"pgd": {"preset": "gao", "eps": "8/255"}})
    code, _, err = barrage("plan", write(content), "--no-calibrate")
    assert code == 0 and "attack pgd: preset gao (Gao et al., NeurIPS 2022) means kind: apgd, steps: 200, eot_draws: 1" in err
    code, _, err = barrage("plan", write(tiny.campaign(pattern)), "--no-calibrate")
    assert code == 0 and "preset" not in err
