import pytest

from pipeline.config.campaign import load, parse
from pipeline.errors import BadInput
from tests.support import tiny


def refused(content):
    with pytest.raises(BadInput) as error:
        parse(content, "c.yaml")
    message = str(error.value)
    assert "\n" not in message, "one line"
    return message


@pytest.mark.parametrize(("written", "meant"), [("8/255", 8 / 255), ("8 / 255", 8 / 255), (0.031, 0.031), ("0.5", 0.5)])
def test_lengths_are_fractions_or_decimals(written, meant):
    content = tiny.campaign("x.tar", attacks={"pgd": {"eps": written}})
    assert parse(content, "c.yaml").attacks["pgd"].eps == meant


@pytest.mark.parametrize("eps", ["a lot", "8/0", -0.1, 0, None, "nan"])
def test_eps_that_is_no_length_is_refused(eps):
    assert "attacks.pgd.eps" in refused(tiny.campaign("x.tar", attacks={"pgd": {"eps": eps}}))


def test_unknown_key_names_the_nearest_known_one():
    message = refused(tiny.campaign("x.tar", attacks={"pgd": {"eps": 0.1, "stepps": 3}}))
    assert "stepps" in message and "did you mean 'steps'" in message
    assert "did you mean 'seed'" in refused(tiny.campaign("x.tar", sed=3))


def test_names_that_do_not_exist_are_refused():
    grid = [{"model": "net", "defense": "bart22", "attack": "pgd"}]
    assert "did you mean 'bart2'" in refused(tiny.campaign("x.tar", cells=grid))
    assert "gray_mix" in refused(tiny.campaign("x.tar", defenses={"d": {"k": 1, "transforms": ["gray_mix"]}}))


def test_a_k_that_cannot_be_met_is_refused():
    assert "k = 3" in refused(tiny.campaign("x.tar", defenses={"d": {"k": 3, "transforms": ["grey_mix", "color_precision"]}}))


def test_a_missing_key_and_a_file_that_is_no_campaign_are_refused(tmp_path):
    content = tiny.campaign("x.tar")
    del content["models"]
    assert "models: is missing" in refused(content)
    assert "mapping" in refused(["a", "list"])
    with pytest.raises(BadInput, match="does not exist"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(BadInput, match="no valid YAML"):
        load(tmp_path / "bad.yaml")


def test_a_cell_given_twice_is_refused():
    grid = {"model": "net", "defense": "none", "attack": "pgd"}
    assert "twice" in refused(tiny.campaign("x.tar", cells=[grid, grid]))


def test_yaml_tags_are_not_executed(tmp_path):
    (tmp_path / "evil.yaml").write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(BadInput, match="no valid YAML"):
        load(tmp_path / "evil.yaml")


def test_identity_is_of_what_decides_the_numbers_and_of_nothing_else():
    def identities(**changes):
        return [cell.identity for cell in parse(tiny.campaign("x.tar", **changes), "c").grid()]

    usual = identities()
    assert identities(unit_images=1, workers={"stack": 1}, store="elsewhere", name="other") == usual
    assert identities(data={"shards": "y.tar", "resize": None, "crop": 32}) == usual
    for change in (
        {"seed": 1},
        {"evaluation_draws": 5},
        {"data": {"shards": "x.tar", "resize": 40, "crop": 32}},
        {"attacks": {"pgd": {"eps": "9/255", "steps": 6, "step_size": "2/255", "eot_draws": 3}}},
    ):
        assert not set(identities(**change)) & set(usual), change


def test_an_undefended_model_needs_one_draw():
    none, bart2 = parse(tiny.campaign("x.tar"), "c").grid()
    assert (none.eot_draws, none.judged_by, none.cost.gradients) == (1, 1, 6)
    assert (bart2.eot_draws, bart2.judged_by, bart2.cost.gradients) == (3, 4, 18)
