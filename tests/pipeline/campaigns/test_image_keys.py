"""Check what the draws of an image depend on: those that judge on seed, model, defense and image alone, whatever attacks."""

from itertools import combinations

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from bart import Barrage, Defended, Mirror, draw_keys, rng
from pipeline import analysis
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt.unit import UnitAttempt
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.replay import find, replay
from pipeline.campaigns.verification.verify import verify
from pipeline.config.attacks import KINDS
from pipeline.config.campaign import parse
from pipeline.config.definitions import TABLES
from pipeline.errors import BadInput
from pipeline.reports.image_trace import trace
from pipeline.store.formats import StoreWarning
from tests.support import tiny
from tests.support.campaigns import ran, rows
from tests.support.foreign import NEEDED

IMAGE = ("photos-000000", "image1")
GREYS = ["color_precision", "grey_mix", "grey_one_channel"]


def cell_of(defense=None, model=None, attack=None, names=("net", "bart2", "pgd"), **changes):
    """Return a cell of the tiny campaign with other settings or other names."""
    content = tiny.campaign("x.tar")
    blocks = {
        "models": {names[0]: content["models"]["net"] | (model or {})},
        "defenses": {names[1]: content["defenses"]["bart2"] | (defense or {})},
        "attacks": {names[2]: attack or content["attacks"]["pgd"]},
        "cells": [{"model": names[0], "defense": names[1], "attack": names[2]}],
    }
    (cell,) = parse(content | blocks | changes, "c").grid()
    return cell


def judged(cell, image=IMAGE):
    return int(image_keys.to_judge(cell, [image]).host)


WEIGHTS = {"weights": "a.pt", "sha256": "a" * 64}


@pytest.mark.parametrize(
    "same",
    [
        {"names": ("other", "names", "everywhere")},
        {"attack": {"eps": "1/255", "steps": 3, "goal": "random_target"}},
        {"attack": {"kind": "square", "eps": "8/255"}},
        {"evaluation_draws": 9},
        {"skip_misclassified": "vote"},
        {"data": {"shards": "elsewhere.tar", "resize": None, "crop": 32, "limit": 5}},
        {"defense": {"transforms": GREYS[::-1]}},
        {"data": {"shards": "x.tar", "resize": None, "crop": 64}, "model": {"crop": 32}},
    ],
)
def test_what_does_not_judge_changes_no_draw_that_judges(same):
    assert judged(cell_of(**same)) == judged(cell_of())


def test_the_path_of_weights_is_only_a_place():
    assert judged(cell_of(model=WEIGHTS)) == judged(cell_of(model=WEIGHTS | {"weights": "b/c.pt"}))


def test_what_judges_changes_the_draws_and_so_do_seed_shard_and_key():
    found = [
        judged(cell_of()),
        judged(cell_of(), ("photos-000001", "image1")),
        judged(cell_of(), ("photos-000000", "image2")),
        judged(cell_of(seed=1)),
        judged(cell_of({"k": 1})),
        judged(cell_of({"transforms": GREYS[:2]})),
        judged(cell_of({"frozen": True})),
        judged(cell_of({"planted": True})),
        judged(cell_of(model=WEIGHTS)),
        judged(cell_of(model=WEIGHTS | {"sha256": "b" * 64})),
        judged(cell_of(model={"weights": "DEFAULT"})),
        judged(cell_of(model={"architecture": "tests.support.tiny:slow_network"})),
        judged(cell_of(model={"mean": [0, 0, 0]})),
        judged(cell_of(model={"crop": 48})),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("table", "name", "changes"), [("transforms", "grey_mix", True), ("transforms", "jpeg", False), ("attacks", "pgd", False)]
)
def test_another_version_of_what_judges_is_another_defense(table, name, changes, monkeypatch):
    before, thing = judged(cell_of()), TABLES[table].builtin[name]
    if isinstance(thing, type):
        monkeypatch.setattr(thing, "version", 7)
    else:
        monkeypatch.setitem(TABLES[table].builtin, name, thing.__class__(**vars(thing) | {"version": 7}))
    assert (judged(cell_of()) != before) == changes


def test_attacks_draw_by_the_cells_name_and_frozen_ones_by_what_judges():
    def attacked(cell, image=IMAGE):
        return int(image_keys.to_attack(cell, [image]).host)

    found = [attacked(cell_of()), attacked(cell_of(names=("net", "bart2", "again"))), attacked(cell_of(seed=1))]
    found += [attacked(cell_of(), (IMAGE[0], "image2")), judged(cell_of())]
    assert len(set(found)) == 5
    frozen = cell_of({"frozen": True})
    assert attacked(frozen) == judged(frozen)


def test_random_targets_are_those_of_the_image_in_every_cell():
    cells = (cell_of(), cell_of({"k": 0}, WEIGHTS, {"eps": 0.5, "steps": 2}, ("a", "b", "c")))
    first, second = (int(image_keys.to_aim(cell, [IMAGE]).host) for cell in cells)
    others = [int(image_keys.to_aim(cell_of(seed=1), [IMAGE]).host), int(image_keys.to_aim(cell_of(), [("s", IMAGE[1])]).host)]
    assert first == second and len({first, *others}) == 3


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, {"evaluation": 2}),
        ({"defense": {"k": 0}}, None),
        ({"defense": {"frozen": True}}, {"evaluation": 2}),
        ({"attack": {"kind": "pgd", "eps": 0.1, "goal": "random_target"}}, {"evaluation": 2, "target": 2}),
        ({"defense": {"k": 0}, "attack": {"kind": "pgd", "eps": 0.1, "goal": "random_target"}}, {"target": 2}),
        ({"defense": {"k": 0}, "attack": {"kind": "pgd", "eps": 0.1, "goal": "least_likely"}}, None),
        ({"defense": {"k": 0}, "attack": {"eps": 0.1}}, {"choice": 2}),
    ],
)
def test_a_rule_of_draws_is_part_of_the_cells_in_which_it_decides_numbers(changes, rules):
    assert cell_of(**changes).versions.get("draws") == rules


# Whole campaigns

SMALL = {"eot_draws": 2, "steps": 6, "budget": 20}

EVERY_KIND = {
    kind: {"kind": kind, "eps": "8/255", **NEEDED.get(kind, {})}
    | {n: v for n, v in SMALL.items() if n in KINDS[kind].model_fields}
    for kind in KINDS.builtin
    if kind not in ("examples", "certify")  # one draws nothing, the other needs noise: tests/pipeline/campaigns/test_certify.py
}
PGD = {"eps": "8/255", "steps": 3, "eot_draws": 2}
ATTACKS = EVERY_KIND | {
    "restarts": PGD | {"restarts": 3, "restart_draws": 2},
    "early": PGD | {"mode": "first_break", "break_draws": 2},
    "ordered": PGD | {"fixed_order": True},
    "transfer": PGD | {"transfer": True},
    "aimed": PGD | {"goal": "random_target"},
}
ATTACKS["spsa"]["pairs"] = ATTACKS["lbfgs"]["searches"] = 2
ATTACKS["sigma_zero"]["eps"] = 5


def everything(pattern, **changes):
    """Return a campaign of two names for one defense, another one, and every kind of attack."""
    bart2 = {"k": 2, "transforms": GREYS}
    defenses = {"bart2": bart2, "same": bart2, "bart1": bart2 | {"k": 1}}
    cells = [{"model": "net", "defense": list(defenses), "attack": list(ATTACKS)}]
    return tiny.campaign(pattern, defenses=defenses, attacks=ATTACKS, cells=cells, unit_images=8, **changes)


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory, pattern):
    """Return the rows of such a campaign, and the keys of the draws that attacked and that judged, by cell."""
    met, now = {}, {}

    def logits(self, x, keys, policy=None, order_keys=None, fast=False):
        met.setdefault((now["cell"], now["judging"]), []).extend(
            keys.host.tolist() + (order_keys.host.tolist() if order_keys else [])
        )
        return plain(self, x, keys, *([policy] if policy else []), order_keys=order_keys, fast=fast)

    def verdict(self, *arguments):
        now.update(cell=self.unit.cell, judging=True)
        found = judge(self, *arguments)
        now["judging"] = False
        return found

    plain, judge = Defended.logits, UnitAttempt._verdict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Defended, "logits", logits)
        patch.setattr(UnitAttempt, "_verdict", verdict)
        job, _ = ran(everything(pattern), tmp_path_factory.mktemp("everything") / "store")
    return rows(job.store), met


def test_no_draw_judges_in_one_cell_and_attacks_in_any(everywhere):
    _, met = everywhere
    attacking = {cell: set(some) for (cell, judging), some in met.items() if not judging}
    judging = {cell: set(some) for (cell, judges), some in met.items() if judges}
    assert len(judging) == 3 * len(ATTACKS) and len(attacking) == 3 * len(ATTACKS)
    assert len(set().union(*attacking.values())) > 1900
    assert not set().union(*judging.values()) & set().union(*attacking.values())
    assert {key >> 32 & 1 for key in set().union(*judging.values())} == {1}, "it is no matter of chance"
    assert {key >> 32 & 1 for key in set().union(*attacking.values())} == {0}
    assert all(len(some) == 8 * 4 for some in judging.values()), "the image and its example are judged by the same draws"
    for one, other in combinations(judging, 2):
        assert (judging[one] == judging[other]) == (("bart1" in one) == ("bart1" in other)), (one, other)
        if "transfer" not in one and "transfer" not in other:
            assert not attacking[one] & attacking[other], "two attacks met the same draw"


def test_clean_rows_of_all_attacks_on_a_defense_are_equal_value_for_value(everywhere):
    found, _ = everywhere
    clean = {}
    for (cell, image), row in found.items():
        values = {name: value for name, value in row.items() if name.startswith("clean_")}
        assert len(values) == 6
        clean.setdefault(("bart1" in cell, image), []).append(values)
    assert len(clean) == 16 and sorted(map(len, clean.values())) == [len(ATTACKS)] * 8 + [2 * len(ATTACKS)] * 8
    assert all(values == of_image[0] for of_image in clean.values() for values in of_image)
    assert any(clean[False, image] != clean[True, image] for _, image in clean)


def test_a_target_is_the_same_under_every_defense(everywhere):
    found, _ = everywhere
    targets = {}
    for (cell, image), row in found.items():
        if cell.endswith("-aimed"):
            targets.setdefault(image, set()).add(row["target"])
    assert len(targets) == 8 and all(len(some) == 1 for some in targets.values()) and len(set.union(*targets.values())) > 3


# Stores of the rule before


def made_before(pattern, folder, defense, **changes):
    """Return a store as it was made before evaluation draws had a rule of their own, on a finished run."""
    content = tiny.campaign(pattern, cells=[{"model": "net", "defense": defense, "attack": "pgd"}], **changes)
    with pytest.MonkeyPatch.context() as patch:
        for name, rule in TABLES["draws"].builtin.items():
            patch.setitem(TABLES["draws"].builtin, name, rule._replace(version=1))
        patch.setattr(image_keys, "to_judge", image_keys.to_attack)
        job, _ = ran(content, folder / "store")
    path = folder / "store" / "campaign.yaml"
    found = yaml.safe_load(path.read_text())
    found["definitions"].pop("draws", None)
    del found["sha256"]
    path.write_text(yaml.safe_dump(found))
    return content, job.store


SAID = "rule of draws for evaluation had version 1, has version 2"


def test_a_store_of_the_rule_before_is_not_gone_on_with(tmp_path, pattern):
    content, url = made_before(pattern, tmp_path, "bart2")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BadInput) as error:
        prepare(parse(content, "c"), url)
    assert str(error.value) == f"store {url}: {SAID}: go on with the release that wrote it, or use another --store"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_undefended_cells_of_the_rule_before_go_on(tmp_path, pattern):
    content, url = made_before(pattern, tmp_path, "none")
    again = tiny.campaign(pattern)
    assert prepare(parse(content, "c"), url).todo() == []
    job, outcome = ran(again, url)
    assert outcome.exit_code == 0 and len(rows(url)) == 16 and list(verify(opened(url), sample=16)) == []
    recorded = yaml.safe_load((tmp_path / "store" / "campaign.yaml").read_text())
    assert recorded["definitions"]["draws"] == {"evaluation": 2} and len(job.cells) == 2


def test_a_store_of_the_rule_before_is_read_and_what_cannot_be_made_again_is_said(tmp_path, pattern):
    _, url = made_before(pattern, tmp_path, "bart2")
    job, cell = opened(url), "net-bart2-pgd"
    with pytest.warns(StoreWarning, match=f"cell {cell}: {SAID}: its verdicts can only be made again by the release"):
        assert list(verify(job, sample=8)) == []
    found = replay(job, find(url, "image1")[0], torch.device("cpu"))
    assert [difference.column for difference in found.differences] == ["campaign"]
    assert found.reasons == (f"{SAID}, so nothing was attacked: replay it with the release that wrote it",)
    with pytest.warns(StoreWarning, match=f"{SAID}: its draws cannot be made again, so it is left out"):
        assert analysis.by_transform(url).empty
    with pytest.warns(StoreWarning, match=f"{SAID}: its draws cannot be made again, so it is left out"):
        found = analysis.errors.errors(url, cell)
    assert found["parts"] == [] and sum(line["images"] for line in found["classes"]) == 8
    with pytest.warns(StoreWarning, match=f"{SAID}: its draws are not shown"):
        assert trace(url, "image1", tmp_path / "story.png") == [cell]
    assert len(analysis.scores(url)) == 8 and (tmp_path / "story.png").stat().st_size > 1000


def test_a_row_of_another_identity_is_a_fault_in_a_store_of_the_rule_before(tmp_path, pattern):
    _, url = made_before(pattern, tmp_path, "bart2")
    path = tmp_path / "store" / "campaign.yaml"
    found = yaml.safe_load(path.read_text())
    found["identity"] = {cell: "0" * 16 for cell in found["identity"]}
    found.pop("sha256", None)
    path.write_text(yaml.safe_dump(found))
    with pytest.warns(match=SAID):
        faults = list(verify(opened(url)))
    assert len(faults) == 8 and all("the row is of another campaign or unit" in fault for fault in faults)


def correlated(values):
    """Return the two-sided p-value that the columns of `values` (draws, n) are independent, from all their correlations."""
    found = np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)]
    below = stats.chi2.cdf((len(values) - 1) * (found**2).sum(), len(found))
    return 2 * min(below, 1 - below)


@pytest.mark.parametrize("purpose", ["judge", "attack", "other shards", "other cells"])
def test_images_under_one_seed_meet_independent_draws(purpose):
    """Neighbours in a shard, one key in many shards, one image in many cells: transforms and a parameter of 400 draws."""
    count = 40
    names = [("photos-000000", f"image{i:04}") for i in range(count)]
    if purpose == "attack":
        images = draw_keys.to_attack(image_keys.to_attack(cell_of(), names), 400)
    elif purpose == "other cells":
        some = [image_keys.to_attack(cell_of(names=("net", "bart2", f"pgd{i}")), names[:1]).host for i in range(count)]
        images = draw_keys.to_attack(Mirror.of(torch.cat(some), "cpu"), 400)
    else:
        names = [(f"photos-{i:06}", "image") for i in range(count)] if purpose == "other shards" else names
        images = draw_keys.to_judge(image_keys.to_judge(cell_of(), names), 400)
    keys = images.host
    chosen = Barrage(5).select(keys)
    for transform in (0, 7, 20):
        assert correlated((chosen == transform).any(1).view(count, 400).T.double().numpy()) > 1e-4
    assert correlated(chosen[:, 0].view(count, 400).T.double().numpy()) > 1e-4
    assert correlated(rng.uniform(keys, "sigma").view(count, 400).T.double().numpy()) > 1e-4


def test_one_key_in_two_shards_is_attacked_by_the_same_draws():
    """Known, and part of the identity of stores that are there: shards whose keys repeat share what the attack draws."""
    cell = cell_of()
    attacked = image_keys.to_attack(cell, [("photos-000000", "image"), ("photos-000001", "image")]).host.tolist()
    judged = image_keys.to_judge(cell, [("photos-000000", "image"), ("photos-000001", "image")]).host.tolist()
    assert attacked[0] == attacked[1] and judged[0] != judged[1]
