"""Hold identities of cells: others where a definition has another version, else those of release 0.1."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from bart import BART_25, LOSSES, TRANSFORMS, Barrage, Classifier, Defended, Goal, Mirror
from pipeline.campaigns import stop_rule
from pipeline.campaigns.prepare import prepare
from pipeline.config.attacks import KINDS
from pipeline.config.campaign import load, parse
from pipeline.config.definitions import TABLES
from pipeline.errors import BadInput
from pipeline.planning.units import Cut
from pipeline.scoring import intervals
from tests.support import tiny
from tests.support.foreign import NEEDED
from tests.support.images import photographs

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads(Path(__file__).with_name("identities.json").read_text())
"""Identities of the cells of the shipped campaign files. Those of undefended cells are as the code before versions and
registries computed them; all others changed when evaluation draws got version 2 of their rule, and cells of small campaigns
when these asked for the standard attack and for the network trained behind the transforms of today."""

CHANGED = {"clahe": 2, "contrast_stretch": 2, "grey_one_channel": 2}
"""Transforms whose images have changed since, with their versions: release 0.1 had misread their definitions."""


def bump(monkeypatch, table, name, version=2):
    """Give a built-in definition another version."""
    thing: Any = TABLES[table].builtin[name]
    if isinstance(thing, type):
        monkeypatch.setattr(thing, "version", version)
    elif hasattr(thing, "_replace"):
        monkeypatch.setitem(TABLES[table].builtin, name, thing._replace(version=version))
    else:
        monkeypatch.setitem(TABLES[table].builtin, name, dataclasses.replace(thing, version=version))


@pytest.mark.parametrize("campaign", GOLDEN)
def test_cells_of_shipped_campaigns_keep_their_identity(campaign, monkeypatch):
    """Expect another identity of exactly the cells that may draw a changed transform."""
    cells = list(load(ROOT / "campaigns" / f"{campaign}.yaml").grid())
    now = {cell.name: cell.identity for cell in cells}
    for name in CHANGED:
        bump(monkeypatch, "transforms", name, 1)
    before = {cell.name: cell.identity for cell in cells}
    assert before == GOLDEN[campaign]
    drawing = {cell.name for cell in cells if cell.defense.cost and CHANGED.keys() & set(cell.defense.build().choices)}
    assert {name for name in now if now[name] != before[name]} == drawing


def test_the_versions_of_transforms():
    assert {name: TRANSFORMS.version(name) for name in BART_25 if TRANSFORMS.version(name) != 1} == CHANGED


# Versions


def everything():
    """Return a campaign of one cell for each of four defenses and six attacks."""
    content = tiny.campaign("x.tar", skip_misclassified="vote")
    content["defenses"] = {
        "none": {"k": 0},
        "all": {"k": 2},
        "jpeg": {"k": 1, "transforms": ["jpeg"]},
        "others": {"k": 1, "transforms": ["swirl", "zoom"]},
    }
    content["attacks"] = {
        "usual": {"kind": "pgd", "eps": 0.1},
        "aggmo": {"kind": "aggmo", "eps": 0.1},
        "dlr": {"kind": "apgd", "eps": 0.1, "loss": "dlr"},
        "probabilities": {"eps": 0.1, "estimator": "mean_probabilities"},
        "square": {"kind": "square", "eps": 0.1},
        "targeted": {"kind": "pgd", "eps": 0.1, "goal": "random_target"},
        "noise": {"kind": "noise", "eps": 0.1},
        "again": {"kind": "aggmo", "eps": 0.1, "restarts": 2},
    }
    content["cells"] = [{"model": "net", "defense": list(content["defenses"]), "attack": list(content["attacks"])}]
    return {(cell.defense_name, cell.attack_name): cell for cell in parse(content, "c.yaml").grid()}


def of_defense(*names):
    return lambda defense, attack: defense in names


def of_attack(*names):
    return lambda defense, attack: attack in names


@pytest.mark.parametrize(
    ("table", "name", "uses"),
    [
        ("transforms", "jpeg", of_defense("all", "jpeg")),
        ("transforms", "swirl", of_defense("all", "others")),
        ("attacks", "pgd", of_attack("usual", "probabilities", "targeted")),
        ("attacks", "square", of_attack("square")),
        ("losses", "ce", of_attack("usual", "probabilities", "targeted")),
        ("losses", "margin", of_attack("aggmo", "again", "square")),
        ("losses", "dlr", of_attack("dlr")),
        ("estimators", "mean_probabilities", of_attack("probabilities")),
        ("estimators", "per_draw", of_attack("usual", "dlr", "targeted")),
        ("defenses", "barrage", lambda defense, attack: True),
        (
            "rules",
            "vote",
            of_attack("usual", "aggmo", "again", "dlr", "noise", "probabilities", "square"),
        ),  # targeted attacks skip no image
        ("rules", "mean", lambda defense, attack: False),
        ("draws", "evaluation", of_defense("all", "jpeg", "others")),
        ("draws", "target", of_attack("targeted")),
        ("draws", "choice", of_attack("noise", "again")),
    ],
)
def test_another_version_changes_the_identity_of_exactly_the_cells_that_use_it(table, name, uses, monkeypatch):
    before = {names: cell.identity for names, cell in everything().items()}
    bump(monkeypatch, table, name, TABLES[table].version(name) + 1)
    after = {names: cell.identity for names, cell in everything().items()}
    assert {names for names in before if before[names] != after[names]} == {names for names in before if uses(*names)}
    second = dict(after)
    bump(monkeypatch, table, name, TABLES[table].version(name) + 1)
    third = {names: cell.identity for names, cell in everything().items()}
    assert {names for names in second if second[names] != third[names]} == {names for names in before if uses(*names)}


def test_every_attack_names_the_losses_that_it_takes(monkeypatch):
    """Each kind runs to its end on losses that note their use."""
    x, keys = photographs(16, 16)[:2], Mirror.of(torch.tensor([1, 2]), "cpu")
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    defended = Defended(Classifier(net, (0.0,) * 3, (1.0,) * 3, (16, 16)), Barrage(1, ("grey_mix",)))
    taken = set()

    def noting(name, loss):
        def untargeted(*inputs):
            taken.add(name)
            return loss.untargeted(*inputs)

        return loss._replace(untargeted=untargeted)

    for name, loss in list(LOSSES.builtin.items()):
        monkeypatch.setitem(LOSSES.builtin, name, noting(name, loss))
    for kind in KINDS.builtin:
        small = {"steps": 6, "searches": 2, "budget": 12, "eot_draws": 2, "queries": 5}
        few = {name: count for name, count in small.items() if name in KINDS[kind].model_fields}
        settings = KINDS[kind].model_validate(few | NEEDED.get(kind, {}) | {"kind": kind, "eps": 1})
        attack = settings.build(True)
        taken.clear()
        state = attack.start(x, Goal(torch.tensor([0, 1]), torch.tensor([-1, -1])), keys)
        for _ in range(attack.steps):
            state = attack.step(state, defended, 64)
        attack.result(state)
        assert taken <= set(settings.named().get("losses", ())), f"{kind} takes {taken}"
        assert taken or kind in ("noise", "pop_skip_jump", *NEEDED)


def test_a_store_records_versions_and_packages_and_refuses_another_version(tmp_path, pattern, monkeypatch):
    content, url = tiny.campaign(pattern), str(tmp_path / "store")
    prepare(parse(content, "c"), url).write_down()
    recorded = yaml.safe_load((tmp_path / "store" / "campaign.yaml").read_text())
    assert recorded["definitions"] == {
        "transforms": {"color_precision": 1, "grey_mix": 1, "grey_one_channel": 2}, "attacks": {"pgd": 1},
        "defenses": {"barrage": 1}, "losses": {"ce": 1}, "estimators": {"per_draw": 1}, "draws": {"evaluation": 2},
    }  # fmt: skip
    assert recorded["plugins"] == []
    bump(monkeypatch, "transforms", "grey_mix")
    with pytest.raises(BadInput, match="transform grey_mix had version 1, has version 2: go on with the release that wrote it"):
        prepare(parse(content, "c"), url)
    grid, more = content["cells"][0], {"k": 1, "transforms": ["jpeg"]}
    bump(monkeypatch, "transforms", "jpeg")
    bump(monkeypatch, "transforms", "grey_mix", 1)
    added = content | {"defenses": content["defenses"] | {"more": more}, "cells": [grid, grid | {"defense": "more"}]}
    prepare(parse(added, "c"), url)  # jpeg was not used before
    bump(monkeypatch, "transforms", "grey_mix", 2)
    other = content | {"defenses": content["defenses"] | {"bart2": {"k": 1, "transforms": ["color_precision"]}}}
    with pytest.raises(BadInput, match="defense.k was 2, is 1"):
        prepare(parse(other, "c"), url)
    job = prepare(parse(content, "c"), str(tmp_path / "new"))
    job.write_down()
    recorded = yaml.safe_load((tmp_path / "new" / "campaign.yaml").read_text())
    assert recorded["definitions"]["transforms"]["grey_mix"] == 2


def test_a_store_without_versions_had_version_1(tmp_path, pattern, monkeypatch):
    """As release 0.1 wrote it."""
    grid = {"model": "net", "defense": "none", "attack": "pgd"}  # of a defended cell the draws have version 2
    content, path = tiny.campaign(pattern, cells=[grid]), tmp_path / "store" / "campaign.yaml"
    prepare(parse(content, "c"), str(path.parent)).write_down()
    found = yaml.safe_load(path.read_text())
    del found["sha256"], found["definitions"], found["plugins"], found["campaign"]["defenses"]["none"]["kind"]
    path.write_text(yaml.safe_dump(found))
    prepare(parse(content, "c"), str(path.parent))
    bump(monkeypatch, "attacks", "pgd")
    with pytest.raises(BadInput, match="attack kind pgd had version 1, has version 2"):
        prepare(parse(content, "c"), str(path.parent))


@pytest.mark.parametrize("name", CHANGED)
def test_a_store_of_a_transform_as_it_was_is_refused(name, tmp_path, pattern, monkeypatch):
    content = tiny.campaign(pattern)
    content["defenses"]["bart2"]["transforms"] = ["color_precision", "grey_mix", name]
    with monkeypatch.context() as before:
        bump(before, "transforms", name, 1)
        prepare(parse(content, "c"), str(tmp_path / "store")).write_down()
    with pytest.raises(BadInput, match=f"transform {name} had version 1, has version 2: go on with the release that wrote it"):
        prepare(parse(content, "c"), str(tmp_path / "store"))


def test_a_stop_rule_is_recorded_with_its_version(tmp_path, pattern, monkeypatch):
    content = tiny.campaign(pattern, stop={"interval": 0.2, "rule": "vote", "minimum_images": 2})
    prepare(parse(content, "c"), str(tmp_path / "store")).write_down()
    recorded = yaml.safe_load((tmp_path / "store" / "campaign.yaml").read_text())
    assert recorded["definitions"]["rules"] == {"vote": 1}
    bump(monkeypatch, "rules", "vote", 4)
    check = stop_rule.compute(str(tmp_path / "store"), "net-none-pgd", 0, Cut(1, 2), "vote", [])
    assert (check.rule_version, check.interval_version) == (4, intervals.VERSION)
    with pytest.raises(BadInput, match="decision rule vote had version 1, has version 4"):
        prepare(parse(content, "c"), str(tmp_path / "store"))
