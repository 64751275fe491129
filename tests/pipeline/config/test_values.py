"""Values without a meaning are refused in one line that names the value, what was expected and what to do."""

import re

import pytest
import yaml

from pipeline.config.campaign import load, parse
from pipeline.config.yaml_loader import plain
from pipeline.errors import BadInput
from tests.support import tiny


def changed(path, value):
    """The tiny campaign with the value at a dotted path."""
    content = tiny.campaign("photos.tar")
    *folders, name = path.split(".")
    section = content
    for folder in folders:
        section = section.setdefault(folder, {})
    section[name] = value
    return content


WRONG = [
    ("attacks.pgd.eps", 8, "eps 8: images are in [0, 1], expected at most 1 in linf; did you mean 8/255?"),
    ("attacks.pgd.eps", "4", "did you mean 4/255?"),
    ("attacks.pgd.step_size", 1, "step_size 1 is longer than the ball is wide"),
    ("attacks.pgd.step_size", 2, "did you mean 2/255?"),
    ("attacks.pgd.step_size", "17/255", "expected at most 2 eps, which is 0.0627451"),
    ("attacks.pgd.eps", "1e999999999", "'1e999999999' is not a number: write 8/255 or 0.0314"),  # as a whole number: hours
    ("attacks.pgd.eps", "1e400", "'1e400' is not a number"),
    ("attacks.pgd.eps", "8_0/255", "'8_0/255' is not a number: write 8/255 or 0.0314"),
    ("attacks.pgd.eps", "８/255", "is not a number: write 8/255"),
    ("attacks.pgd.eps", True, "eps True: a truth value, expected a number"),
    (
        "attacks.pgd.steps",
        True,
        "steps True: a truth value, expected a number (YAML reads yes, no, on and off as",
    ),
    ("attacks.pgd.steps", "1_0", "steps '1_0': a text, expected a number: write it without quotes and underscores"),
    ("attacks.pgd.steps", "10", "steps '10': a text, expected a number"),
    ("attacks.pgd.transfer", 1, "transfer 1: a number, expected true or false"),
    ("attacks.pgd.random_start", "yes", "random_start 'yes': a text, expected true or false without quotes"),
    ("defenses.bart2.k", True, "k True: a truth value, expected a number"),
    ("seed", False, "seed False: a truth value, expected a number"),
    ("evaluation_draws", "20", "evaluation_draws '20': a text, expected a number"),
    ("models.net.classes", True, "classes True: a truth value, expected a number"),
    ("models.net.mean", [True, 0.5, 0.5], "mean True: a truth value, expected a number"),
    ("data.crop", True, "crop True: a truth value, expected a number"),
    ("workers.checkpoint_seconds", float("inf"), "finite number"),
    ("attacks.pgd.momentum", float("nan"), "finite number"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_a_value_without_a_meaning_is_refused(path, value, said):
    with pytest.raises(BadInput) as refused:
        parse(changed(path, value), "c.yaml")
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("attacks.pgd.eps", 1), ("attacks.pgd.eps", "16/255"), ("attacks.pgd.step_size", "16/255"), ("attacks.pgd.steps", 10),
        ("seed", -3), ("data.limit", None), ("workers.cpus", 2), ("attacks.pgd.random_start", False),
    ],
)  # fmt: skip
def test_what_has_a_meaning_passes(path, value):
    assert parse(changed(path, value), "c.yaml")


@pytest.mark.parametrize("key", ["model", "defense", "attack"])
def test_cells_of_nothing_are_refused(key):
    content = tiny.campaign("photos.tar")
    content["cells"][0] = content["cells"][0] | {key: []}
    with pytest.raises(BadInput, match=rf"cells.*{key}: \[\]: list should have at least 1 item"):
        parse(content, "c.yaml")


@pytest.mark.parametrize(("text", "number"), [("8/255", 8 / 255), (" 1 / 3 ", 1 / 3), (".5", 0.5), ("3e-2", 0.03)])
def test_a_number_as_text_is_that_number(text, number):
    assert parse(changed("attacks.pgd.eps", text), "c.yaml").attacks["pgd"].eps == number


@pytest.mark.parametrize("path", ["attacks.pgd.eps", "seed", "x" * 5000, "attacks.pgd.kind", "data.resize"])
def test_a_value_of_any_length_gives_a_short_line(path):
    with pytest.raises(BadInput) as refused:
        parse(changed(path, "y" * 5000), "c.yaml")
    assert len(str(refused.value)) < 1200


def test_a_radius_in_l2_may_be_larger_than_one():
    content = tiny.campaign("photos.tar", attacks={"pgd": {"norm": "l2", "eps": 8}})
    assert parse(content, "c.yaml").attacks["pgd"].eps == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nname: a\nseed: 2\n", "the key 'seed' stands in lines 1 and 3: take one of them out"),
        ("attacks:\n  pgd: {eps: 1, steps: 2, eps: 2}\n", "the key 'eps' stands in lines 2 and 2"),
        ("a: [{b: 1}, {b: 2, b: 3}]\n", "the key 'b' stands in lines 1 and 1"),
        ("? [a, b]\n: 1\n", "unhashable"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, said, tmp_path, barrage):
    with pytest.raises(yaml.YAMLError, match=said):
        plain(text)
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(BadInput):
        load(tmp_path / "c.yaml")
    code, _, err = barrage("run", tmp_path / "c.yaml")
    assert code == 2 and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("text", ["1_0", "010", "0x20", "0b11", "+1_000", "1_0.5", "-010"])
def test_a_number_that_yaml_reads_as_another_is_refused(text):
    """Of YAML 1.1, which the library follows: 010 is 8."""
    with pytest.raises(
        yaml.YAMLError, match=rf"{re.escape(text)} in line 2 is a number of another notation: write it in digits"
    ):
        plain(f"a: 1\nb: [{text}]\n")
    with pytest.raises(yaml.YAMLError, match="another notation"):
        plain(f"{text}: 1\n")
    assert plain(f"a: '{text}'") == {"a": text}


def test_numbers_in_plain_digits_are_themselves():
    text = "[0, -0, 7, -12, +3, 1.5, 1.0e-3, -0.5, 9223372036854775807, .inf, 8/255, 2026-11-30]"
    assert plain(text)[:9] == [0, 0, 7, -12, 3, 1.5, 0.001, -0.5, 2**63 - 1]
    assert plain("time_limit: 24:00:00") == {"time_limit": 86400}
    with pytest.raises(yaml.YAMLError, match="9223372036854775808 in line 1 is too large: expected"):
        plain("seed: 9223372036854775808")


def test_merged_mappings_may_repeat_a_key():
    assert plain("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {x: 1}\n")["b"] == {"x": 3, "y": 2}
