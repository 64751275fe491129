"""Names and kinds of a campaign file come from tables: what is read, refused, written and put into the JSON schema."""

import jsonschema
import pytest

import barrage_plugins
from barrage_plugins import builtin_only, modules
from pipeline.config.attacks import KINDS, ByGradient
from pipeline.config.campaign import Campaign, parse
from pipeline.config.defenses import BarrageDefense
from pipeline.errors import BadInput
from tests.support import tiny
from tests.support.foreign import NEEDED


@pytest.fixture
def schema():
    with builtin_only():
        return Campaign.model_json_schema()


def valid(schema, section, value):
    part = schema["properties"][section]["patternProperties"]["^[A-Za-z0-9][A-Za-z0-9_.-]*$"]
    return jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]}).is_valid(value)


def test_a_defense_without_a_kind_is_a_barrage():
    for defense in ({"k": 2}, {"kind": "barrage", "k": 2}):
        campaign = parse(tiny.campaign("x.tar", defenses={"none": {"k": 0}, "bart2": defense}), "c")
        assert campaign.defenses["bart2"] == BarrageDefense(k=2)
    assert campaign.model_dump(mode="json")["defenses"]["bart2"]["kind"] == "barrage"


@pytest.mark.parametrize(
    ("defense", "message"),
    [
        ({"kind": "barage", "k": 2}, "defenses.bart2: unknown defense kind 'barage'; did you mean 'barrage'"),
        ({"k": 2, "transfroms": []}, "defenses.bart2.transfroms: unknown key; did you mean 'transforms'"),
        ({}, "defenses.bart2.k: is missing"),
        (3, "defenses.bart2"),
    ],
)
def test_a_bad_defense_is_refused_in_one_line(defense, message):
    with pytest.raises(BadInput, match=message) as error:
        parse(tiny.campaign("x.tar", defenses={"none": {"k": 0}, "bart2": defense}), "c")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "cee"}, "attacks.pgd.loss: unknown loss 'cee'; did you mean 'ce'"),
        ({"estimator": "mean_logit"}, "attacks.pgd.estimator: unknown estimator 'mean_logit'; did you mean 'mean_logits'"),
        ({"loss": 3}, "attacks.pgd.loss: 3: "),
    ],
)
def test_a_name_that_its_table_lacks_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        parse(tiny.campaign("x.tar", attacks={"pgd": {"eps": 0.1} | change}), "c")


def test_a_campaign_that_is_written_is_read_as_the_same():
    attacks = {kind: {"kind": kind, "eps": 1, **NEEDED.get(kind, {})} for kind in KINDS.builtin}
    attacks["usual"] = {"eps": 0.2, "loss": "margin"}
    content = tiny.campaign("x.tar", attacks=attacks, stop={"interval": 0.1, "rule": "vote"})
    content["cells"] = [{"model": "net", "defense": ["none", "bart2"], "attack": list(attacks)}]
    campaign = parse(content, "c")
    again = parse(campaign.model_dump(mode="json"), "c")
    assert again == campaign and [type(a) for a in again.attacks.values()] == [type(a) for a in campaign.attacks.values()]
    assert [c.identity for c in again.grid()] == [c.identity for c in campaign.grid()]


def test_the_schema_has_every_kind_and_name_of_the_tables(schema):
    mapping = schema["properties"]["attacks"]["patternProperties"].popitem()[1]["discriminator"]["mapping"]
    assert set(mapping) == set(KINDS.builtin)
    assert schema["$defs"]["Pgd"]["properties"]["loss"]["enum"] == ["ce", "log_odds", "margin", "hinge", "dlr"]
    assert schema["$defs"]["Stop"]["properties"]["rule"]["enum"] == ["single", "vote", "mean", "persistent"]


def test_the_schema_takes_what_the_program_takes(schema):
    for attack in ({"eps": 0.1}, {"kind": "fgsm", "eps": 0.1}, {"kind": "apgd", "eps": 0.1, "loss": "dlr"}):
        assert valid(schema, "attacks", attack), attack
    for attack in ({}, {"kind": "pgdd", "eps": 0.1}, {"eps": 0.1, "loss": "cee"}, {"kind": "fgsm", "eps": 0.1, "steps": 3}):
        assert not valid(schema, "attacks", attack), attack
    assert valid(schema, "defenses", {"k": 1}) and valid(schema, "defenses", {"kind": "barrage", "k": 1})
    assert not valid(schema, "defenses", {"kind": "other", "k": 1}) and not valid(schema, "defenses", {"kind": "barrage"})


def test_a_kind_of_an_allowed_module_is_read_and_is_in_the_schema(tmp_path, monkeypatch):
    (tmp_path / "more_kinds.py").write_text(
        "from typing import Literal\nfrom pipeline.config.attacks import Pgd\n"
        "class Mine(Pgd):\n    kind: Literal['mine'] = 'mine'\n    steps: int = 7\n"
        "BARRAGE_PLUGINS = {'attacks': {'mine': Mine}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(modules, "_allowed", set())
    content = tiny.campaign("x.tar", attacks={"pgd": {"kind": "mine", "eps": 0.1}})
    with pytest.raises(BadInput, match="unknown attack kind 'mine'"):
        parse(content, "c")
    barrage_plugins.allow(["more_kinds"])
    campaign = parse(content, "c")
    attack = campaign.attacks["pgd"]
    assert isinstance(attack, ByGradient) and attack.model_dump()["steps"] == 7
    assert parse(campaign.model_dump(mode="json"), "c") == campaign
    assert Campaign.model_json_schema()["$defs"]["Mine"]["required"] == ["eps", "kind"]
    with pytest.raises(BadInput, match="pgd.stepz: unknown key; did you mean 'steps'"):
        parse(content | {"attacks": {"pgd": {"kind": "mine", "eps": 0.1, "stepz": 3}}}, "c")
