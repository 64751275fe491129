"""Images that are misclassified without an attack: what is spared, what is not, and what a row says of it."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from bart import Verdict
from pipeline.campaigns.attempt import image_rows
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from pipeline.data.shards import Sample
from pipeline.errors import BadInput, Drained
from pipeline.scoring.summaries import lines
from pipeline.store import checkpoints
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran, rows

UNBATCHED = (*ROUNDED, "campaign")
"""What the company of an image may round otherwise, and the identity."""


def by_key(found, cell="net-bart2-pgd"):
    return {key: row for (of, key), row in found.items() if of == cell}


@pytest.mark.parametrize("rule", ["single", "vote", "mean"])
def test_what_the_rule_gets_wrong_is_its_own_example_and_the_rest_is_as_ever(tmp_path, pattern, finished, rule):
    job, outcome = ran(tiny.campaign(pattern, skip_misclassified=rule), tmp_path / "some")
    assert outcome.exit_code == 0 and list(verify(job, sample=16)) == []
    every, some = rows(finished(), UNBATCHED), rows(tmp_path / "some", UNBATCHED)
    wrong = {
        "single": lambda row: row["clean_correct"] == 0,
        "vote": lambda row: max(votes := [five[0] for five in row["clean_top5"]], key=votes.count) != row["label"],
        "mean": lambda row: row["clean_mean_top5"][0] != row["label"],
    }[rule]
    skipped = {place for place, row in every.items() if wrong(row)}
    assert 0 < len(skipped) < len(every)
    for place, row in some.items():
        if place not in skipped:
            assert row == every[place]
            continue
        assert (row["first_break"], row["grad_evals"], row["status"]) == (0, 0, "ok")
        for name in ("top5", "mean_top5", "correct", "top5_correct"):
            assert row[f"adv_{name}"] == row[f"clean_{name}"] == every[place][f"clean_{name}"]
    distances = {(r["cell"], r["image_key"]): (r["linf"], r["l2"]) for r in results(job.store).to_pylist()}
    assert {place for place, far in distances.items() if far == (0, 0)} == skipped


def test_the_tables_say_how_many_were_skipped_and_count_them_as_not_robust(finished):
    store = str(finished(skip_misclassified="vote"))
    skipped = [row["cell"] for row in rows(store).values() if row["first_break"] == 0]
    found = list(lines(results(store), ["vote"]))
    assert len(found) == 2
    for line in found:
        assert line.skipped == skipped.count(line.cell) > 0 and line.images == 8
        assert line.adv_top1.images == line.clean_top1.images == 8
        assert line.adv_top1.value <= line.clean_top1.value <= 1 - line.skipped / 8


def test_a_unit_whose_images_are_all_skipped(tmp_path, pattern, monkeypatch):
    monkeypatch.setattr(image_rows, "misclassified", lambda samples, clean, cell: [True] * len(samples))
    job, outcome = ran(tiny.campaign(pattern, skip_misclassified="single"), tmp_path / "store")
    assert outcome.exit_code == 0
    assert {(row["first_break"], row["grad_evals"], row["linf"]) for row in rows(job.store).values()} == {(0, 0, 0.0)}


@pytest.mark.parametrize("attack", [
    {"kind": "apgd", "steps": 4}, {"kind": "noise", "steps": 3}, {"steps": 3, "restarts": 2},
    {"kind": "lbfgs", "steps": 3, "searches": 1},
    {"steps": 3, "mode": "first_break", "break_draws": 2},
])  # fmt: skip
def test_every_kind_of_attack_hands_in_the_image_itself(tmp_path, pattern, attack):
    content = tiny.campaign(pattern, skip_misclassified="single", attacks={"pgd": {"eps": "8/255", "eot_draws": 1} | attack})
    content |= {"unit_images": 8, "evaluation_draws": 2}
    job, outcome = ran(content, tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job)) == []
    found = rows(job.store).values()
    skipped = [row for row in found if row["clean_correct"] == 0]
    assert skipped and all(row["first_break"] == 0 and row["linf"] == 0 for row in skipped)
    assert all(row["first_break"] != 0 and row["grad_evals"] + row["forward_evals"] > 0 for row in found if row not in skipped)


def test_a_drained_unit_skips_the_same_images(tmp_path, pattern):
    content = tiny.campaign(pattern, skip_misclassified="single", unit_images=8)
    undisturbed, _ = ran(content, tmp_path / "undisturbed")
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "drained")).write_down()
    mixed = []
    for unit in job.units():
        worker = Worker(job, torch.device("cpu"), threading.Event())
        worker.drain.set()
        with suppress(Drained):
            list(worker.attack(unit))
            continue  # nothing to attack in it
        data = Store(job.store).read(Store(job.store).checkpoint(unit))
        mixed.append(0 < (checkpoints.decode(data)["left"] == 0).sum() < unit.images)
    assert any(mixed)
    ran(content, tmp_path / "drained")
    assert rows(job.store) == rows(undisturbed.store)


def test_targeted_attacks_skip_nothing(tmp_path, pattern):
    attack = {"eps": "8/255", "steps": 1, "goal": "random_target", "eot_draws": 1}
    content = tiny.campaign(pattern, attacks={"pgd": attack}, skip_misclassified="single")
    assert all(cell.skip_misclassified is None for cell in parse(content, "c").grid())
    job, _ = ran(content, tmp_path / "store")
    found = rows(job.store).values()
    assert len(found) == 16 and all(row["first_break"] is None and row["grad_evals"] > 0 for row in found)


def test_identities_are_what_they_were_and_a_store_keeps_its_rule(tmp_path, pattern):
    off, on = (next(parse(tiny.campaign("x", **more), "c").grid()) for more in ({}, {"skip_misclassified": "vote"}))
    assert off.identity == "d20f63cd35611a23" and on.identity != off.identity
    prepare(parse(tiny.campaign(pattern), "c"), str(tmp_path / "store")).write_down()
    with pytest.raises(BadInput, match="skip_misclassified was None, is vote"):
        prepare(parse(tiny.campaign(pattern, skip_misclassified="vote"), "c"), str(tmp_path / "store"))
    with pytest.raises(BadInput, match="skip_misclassified: 'persistent': input should be 'single', 'vote' or 'mean'"):
        parse(tiny.campaign(pattern, skip_misclassified="persistent"), "c")


def test_the_rules_by_hand():
    """Draws say 1, 1, 2 and the mean says 3: only some rules get label 2 wrong, and single only what no draw has."""
    top5 = torch.tensor([[[c, 90, 91, 92, 93] for c in (1, 1, 2)]])
    verdict = Verdict(top5, torch.tensor([[3, 90, 91, 92, 93]]), torch.full((1, 100), 0.01))
    cell = next(c for c in parse(tiny.campaign("x", evaluation_draws=3), "c").grid() if c.defense.cost)

    def wrong(rule, label):
        of = cell.model_copy(update={"skip_misclassified": rule})
        return image_rows.misclassified([Sample("a", b"", label)], verdict, of)[0]

    assert [wrong("single", label) for label in (1, 2, 3)] == [False, False, True]
    assert [wrong("vote", label) for label in (1, 2, 3)] == [False, True, True]
    assert [wrong("mean", label) for label in (1, 2, 3)] == [True, True, False]
    assert not any(wrong(None, label) for label in (1, 2, 3))


def test_verify_holds_the_rows_to_the_rule(finished):
    job = opened(str(finished()))
    strict = replace(job, campaign=job.campaign.model_copy(update={"skip_misclassified": "single"}))
    assert any("an attack was spent on it, against skip_misclassified: single" in fault for fault in verify(strict))
    job = opened(str(finished(skip_misclassified="single")))
    loose = replace(job, campaign=job.campaign.model_copy(update={"skip_misclassified": None}))
    assert any("no attack was spent on it, against skip_misclassified: off" in fault for fault in verify(loose))
