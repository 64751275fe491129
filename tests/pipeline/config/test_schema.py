"""The JSON schemas for editors: they are those of the code, take every file that ships, and refuse what the reader refuses."""

import copy
import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from docs import reference
from pipeline.config import schema
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from tests.support.source.pages import ROOT

EXAMPLES = [
    ROOT / "cluster" / name
    for name in ("slurm/example.yaml", "kuberay/example.yaml", "ray/example.yaml", "ray/aws-example.yaml")
]
SHIPPED = [*sorted((ROOT / "campaigns").rglob("*.yaml")), *EXAMPLES]
CAMPAIGN = {
    "name": "one",
    "data": {"shards": "a.tar"},
    "models": {"net": {"architecture": "resnet20_cifar", "weights": "w.pt", "classes": 10}},
    "defenses": {"two": {"k": 2, "transforms": ["jpeg", "swirl", "zoom"]}},
    "attacks": {"pgd": {"eps": "8/255"}, "fgsm": {"kind": "fgsm", "eps": 0.03}, "noise": {"kind": "noise", "eps": 1}},
    "cells": [{"model": "net", "defense": ["two"], "attack": ["pgd", "fgsm", "noise"]}],
    "workers": {"labels": {"market-type": "spot"}},
}


def errors(content, of):
    return [error.message for error in Draft202012Validator(of).iter_errors(content)]


@pytest.mark.parametrize("path", list(reference.schemas()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_schema_that_ships_is_that_of_the_code(path):
    assert path.read_text() == reference.schemas()[path], "run: python -m docs.reference"
    Draft202012Validator.check_schema(json.loads(path.read_text()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_ships_names_its_schema_and_fits_it(path):
    first, _, rest = path.read_text().partition("\n")
    named = path.parent / re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)[1]
    content = yaml.safe_load(rest)
    assert named.resolve() in reference.schemas()
    assert errors(content, json.loads(named.read_text())) == []
    assert errors(content | {"naem": "typo"}, json.loads(named.read_text()))


def test_every_schema_is_named_by_a_file():
    named = {(path.parent / path.read_text().partition("\n")[0].partition("=")[2]).resolve() for path in SHIPPED}
    assert named == set(reference.schemas())


def changed(change):
    content = copy.deepcopy(CAMPAIGN)
    change(content)
    return content


GOOD = {
    "as it is": lambda c: None,
    "a list of shards": lambda c: c["data"].update(shards=["a.tar", "b.tar"]),
    "a length as a decimal text": lambda c: c["attacks"]["pgd"].update(eps="0.03"),
    "a length with blanks": lambda c: c["attacks"]["pgd"].update(eps="8 / 255", step_size="1e-3"),
    "null for what may be left open": lambda c: c["data"].update(resize=None, limit=None),
    "the default kind by name": lambda c: c["attacks"]["pgd"].update(kind="pgd"),
    "one name in a cell": lambda c: c["cells"][0].update(attack="pgd"),
    "no transforms named": lambda c: c["defenses"]["two"].pop("transforms"),
}
BAD = {
    "an unknown key": lambda c: c.update(evaluation_drawz=3),
    "an unknown key of a section": lambda c: c["attacks"]["pgd"].update(stepz=3),
    "a key of another kind": lambda c: c["attacks"]["fgsm"].update(steps=3),
    "a key of a kind that is not named": lambda c: c["attacks"]["pgd"].update(pairs=3),
    "an unknown kind": lambda c: c["attacks"]["noise"].update(kind="nosie"),
    "an unknown transform": lambda c: c["defenses"]["two"].update(transforms=["jpeg", "swril", "zoom"]),
    "a missing key": lambda c: c["attacks"]["pgd"].pop("eps"),
    "a length that is none": lambda c: c["attacks"]["pgd"].update(eps="big"),
    "a length of 0": lambda c: c["attacks"]["pgd"].update(eps=0),
    "a number out of range": lambda c: c["defenses"]["two"].update(k=11),
    "a name that no file can have": lambda c: c["models"].update({"a/b": c["models"]["net"]}),
    "no cells": lambda c: c.update(cells=[]),
    "no shards": lambda c: c["data"].update(shards=[]),
    "a text for a number": lambda c: c.update(evaluation_draws="many"),
    "a label that Ray refuses": lambda c: c["workers"].update(labels={"a b": "c"}),
    "an unknown rule": lambda c: c.update(skip_misclassified="always"),
}


@pytest.mark.parametrize("case", GOOD)
def test_schema_and_reader_take_the_same(case):
    content = changed(GOOD[case])
    parse(content, "c.yaml")
    assert errors(content, schema.campaign()) == []


@pytest.mark.parametrize("case", BAD)
def test_schema_and_reader_refuse_the_same(case):
    content = changed(BAD[case])
    with pytest.raises(BadInput):
        parse(content, "c.yaml")
    assert errors(content, schema.campaign())


def test_the_command_prints_or_writes_a_schema(barrage, tmp_path):
    code, out, _ = barrage("schema")
    assert code == 0 and json.loads(out) == schema.campaign()
    code, out, _ = barrage("schema", "training", "-o", tmp_path / "s.json")
    assert code == 0 and out.strip() == str(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == schema.training()
    code, _, err = barrage("schema", "campain")
    assert code == 2 and len(err.splitlines()) == 1 and "schema campain: expected one of campaign, training" in err
    assert barrage("schema", "-o", tmp_path)[0] == 2
