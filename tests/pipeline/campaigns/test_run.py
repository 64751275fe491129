"""Whole campaigns in this process: what a run writes, and what can not change it."""

import tarfile
import threading
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from bart import Ball, Barrage, Defended, Eot, Goal, Pgd, judge
from bart.gradient import gradient
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt import image_rows
from pipeline.campaigns.attempt.events import Progress
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data import shards
from pipeline.errors import BadInput, Drained
from pipeline.execution import LocalExecutor
from pipeline.execution.queue import Failed
from pipeline.models import loading
from pipeline.status.summary import Reader
from pipeline.store import checkpoints
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran, rows


def test_a_run_writes_every_planned_row_once_and_verifies(tmp_path, pattern):
    job, outcome = ran(tiny.campaign(pattern), tmp_path / "store")
    assert outcome.exit_code == 0
    found = results(job.store)
    assert len(found) == 16 == len(rows(job.store))
    assert list(verify(job)) == []
    assert Reader(job.store).status().complete and Reader(job.store).status().running == []
    assert list(Store(job.store).list("checkpoints/*")) == []


def test_rows_are_those_of_a_plain_loop_over_bart(tmp_path, pattern):
    job, _ = ran(tiny.campaign(pattern, unit_images=8), tmp_path / "store")
    cell = job.cells["net-bart2-pgd"]
    images = [s for shard in job.shards.values() for s in shards.read(shard, range(shard.images))]
    device = torch.device("cpu")
    defended = Defended(loading.classifier(cell.model, 32, device), Barrage(2, cell.defense.transforms))
    found = rows(job.store)
    ball = Ball("linf", 8 / 255)
    for shard, some in (("photos-000000", images[:5]), ("photos-000001", images[5:])):
        clean = torch.stack([torch.from_numpy(shards.decode(s.image, None, 32)) for s in some]).float() / 255
        names = [(shard, s.key) for s in some]
        label = torch.tensor([s.label for s in some])
        attack = Pgd(ball, 6, 2 / 255, True, Eot(3), 0.9)
        state = attack.start(clean, Goal(label, torch.full_like(label, -1)), image_keys.to_attack(cell, names))
        norms = torch.zeros(len(some))
        for step in range(6):
            now = defended.keys(state.keys, "step", state.step)
            norms += gradient(defended, state.x, state.goal, now, attack.eot, 8)[0].flatten(1).norm(dim=1) / 6
            assert state.step.host.tolist() == [step] * len(some)
            state = attack.step(state, defended, stack=8)
        verdict = judge(defended, ball.store(state.x, clean), image_keys.to_judge(cell, names), 4, stack=8)
        before = judge(defended, (255 * clean).round().byte(), image_keys.to_judge(cell, names), 4, stack=8)
        for i, sample in enumerate(some):
            row = found[cell.name, sample.key]
            assert row["adv_top5"] == verdict.top5[i].tolist()
            assert row["adv_correct"] == int((verdict.top5[i, :, 0] == sample.label).sum())
            assert row["adv_top5_correct"] == int((verdict.top5[i] == sample.label).any(1).sum())
            assert row["adv_mean_top5"] == verdict.mean_top5[i].tolist()
            assert 0 < row["linf"] <= 8 / 255 + 1e-6
            assert row["gradient_norm"] == pytest.approx(float(norms[i]), rel=1e-5) and norms[i] > 0
            for side, judged in (("clean", before), ("adv", verdict)):
                others = [p for c, p in enumerate(judged.mean[i].tolist()) if c != sample.label]
                margin = float(judged.mean[i, sample.label]) - max(others)
                assert row[f"{side}_margin"] == pytest.approx(margin, abs=1e-12) and abs(margin) > 1e-3


def test_units_and_stacks_change_no_draw_and_no_verdict(tmp_path, pattern):
    a, b = tmp_path / "a", tmp_path / "b"
    ran(tiny.campaign(pattern, unit_images=8, workers={"stack": 64}), a)
    ran(tiny.campaign(pattern, unit_images=1, workers={"stack": 2}), b)
    assert rows(a, {"unit", *ROUNDED}) == rows(b, {"unit", *ROUNDED})


def test_a_drained_unit_goes_on_from_its_checkpoint_and_gives_the_same_rows(tmp_path, pattern, finished):
    content = tiny.campaign(pattern, workers={"checkpoint_seconds": 1e9})
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "drained"))
    job.write_down()
    unit = next(job.units())
    for expected in (1, 2, 3):  # three visits of one step each
        worker = Worker(job, torch.device("cpu"), threading.Event())
        worker.drain.set()
        with pytest.raises(Drained):
            list(worker.attack(unit))
        (running,) = Reader(job.store).status().running
        assert (running.unit, running.step, running.steps) == (unit.name, expected, 6)
    events = [e for e in Worker(job, torch.device("cpu"), threading.Event()).attack(unit) if isinstance(e, Progress)]
    assert [e.step for e in events] == [3, 4, 5, 6], "it did not go on from the checkpoint"
    a_step = unit.images * job.cells[unit.cell].eot_draws
    assert [e.draw_gradients for e in events] == [i * a_step for i in range(4)], "an attempt counts its own work alone"
    ran(content, tmp_path / "drained")
    assert rows(job.store) == rows(finished())


def test_a_row_counts_the_time_of_earlier_attempts(tmp_path, pattern):
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store")).write_down()
    unit, store, device = next(job.units()), Store(job.store), torch.device("cpu")
    drained = Worker(job, device, threading.Event())
    drained.drain.set()
    with pytest.raises(Drained):
        list(drained.attack(unit))
    data = store.read(store.checkpoint(unit))
    header = replace(checkpoints.header(data, "checkpoint"), seconds=3000.0)
    store.replace(store.checkpoint(unit), checkpoints.encode(header, checkpoints.decode(data)))
    events = list(Worker(job, device, threading.Event()).attack(unit))
    assert events and all(event.seconds < 1000 for event in events), "an attempt tells its own time"
    spent = results(job.store)["seconds"].to_pylist()
    assert len(spent) == unit.images and all(1000 < seconds < 1100 for seconds in spent)


def test_a_damaged_checkpoint_costs_its_unit_the_time_and_nothing_else(tmp_path, pattern, finished):
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "damaged"))
    unit, store = next(job.units()), Store(job.store)
    worker = Worker(job, torch.device("cpu"), threading.Event())
    worker.drain.set()
    with pytest.raises(Drained):
        list(worker.attack(unit))
    data = bytearray(store.read(store.checkpoint(unit)))
    data[-5] ^= 1
    store.replace(store.checkpoint(unit), bytes(data))
    ran(tiny.campaign(pattern), tmp_path / "damaged")
    assert rows(job.store) == rows(finished())


def test_the_slower_of_two_workers_throws_its_work_away(tmp_path, pattern):
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store")).write_down()
    unit = next(job.units())
    first, second = (Worker(job, torch.device("cpu"), threading.Event()).attack(unit) for _ in range(2))
    next(first), next(second)
    assert [list(first)[-1].lost, list(second)[-1].lost] == [False, True]
    assert len(results(job.store)) == unit.images


def test_what_is_judged_is_what_the_store_holds(tmp_path, pattern):
    """An earlier attempt, on another machine, left other examples and died before its rows: these are judged."""
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store")).write_down()
    unit = next(job.units())
    shard = job.shards[unit.shard]
    samples = shards.read(shard, job.places(unit))
    clean = torch.stack([torch.from_numpy(shards.decode(s.image, None, 32)) for s in samples])
    Store(job.store).create(Store(job.store).adversarial(unit), image_rows.examples(samples, clean))
    list(Worker(job, torch.device("cpu"), threading.Event()).attack(unit))
    found = rows(job.store)
    assert len(found) == unit.images
    for row in found.values():
        assert row["linf"] == 0 and row["adv_top5"] == row["clean_top5"]


def test_cells_may_be_added_and_the_rest_is_left_alone(tmp_path, pattern):
    content = tiny.campaign(pattern, cells=[{"model": "net", "defense": "none", "attack": "pgd"}])
    job, _ = ran(content, tmp_path / "store")
    before = set(Store(job.store).list("results/*.parquet"))
    ran(tiny.campaign(pattern), tmp_path / "store")
    assert before and before < set(Store(job.store).list("results/*.parquet"))
    assert len(rows(job.store)) == 16 and list(verify(opened(job.store))) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 5}, "seed"),
        ({"evaluation_draws": 9}, "evaluation_draws"),
        ({"cells": [{"model": "net", "defense": "none", "attack": "pgd"}]}, "lacks"),
        ({"attacks": {"pgd": {"eps": "9/255", "steps": 6, "step_size": "2/255", "eot_draws": 3}}}, "attack"),
    ],
)
def test_a_store_refuses_another_campaign(tmp_path, pattern, changes, named):
    prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store")).write_down()
    with pytest.raises(BadInput, match=named):
        prepare(parse(tiny.campaign(pattern, **changes), "c.yaml"), str(tmp_path / "store"))


def test_a_store_keeps_its_units_when_the_file_asks_for_others(tmp_path, pattern):
    job = prepare(parse(tiny.campaign(pattern, unit_images=3), "c.yaml"), str(tmp_path / "store"))
    job.write_down()
    again = prepare(parse(tiny.campaign(pattern, unit_images=5), "c.yaml"), str(tmp_path / "store"))
    assert list(again.units()) == list(job.units())


def test_faulty_images_are_rows_with_their_reason_and_the_run_goes_on(tmp_path, shards):
    path = shards / "photos-000000.tar"
    with tarfile.open(path) as tar:
        cut = tar.getmembers()[4].offset  # after two samples
    path.write_bytes(path.read_bytes()[:cut])
    job, outcome = ran(tiny.campaign(str(shards / tiny.SHARDS)), tmp_path / "store")
    assert outcome.exit_code == 1
    bad = {key: row for key, row in rows(job.store).items() if row["status"] != "ok"}
    assert len(bad) == 6 and all(row["status"] == "bad_shard" and "truncated" in row["error"] for row in bad.values())
    assert len(rows(job.store)) == 16 and list(verify(job)) == []


def test_a_unit_that_fails_is_tried_three_times_and_the_others_go_on(tmp_path, shards):
    job = prepare(parse(tiny.campaign(str(shards / tiny.SHARDS)), "c.yaml"), str(tmp_path / "store")).write_down()
    victim = shards / "photos-000001.tar"
    data = victim.read_bytes()
    victim.write_bytes(data[:600] + b"x" + data[601:])  # replaced under way
    events = list(LocalExecutor(attacking).execute(job, list(job.units()), threading.Event()))
    failures = [e for e in events if isinstance(e, Failed)]
    by_unit = {unit: [f.final for f in failures if f.unit == unit] for unit in job.units() if unit.shard == "photos-000001"}
    assert by_unit and all(finals == [False, False, True] for finals in by_unit.values())
    assert all("SHA-256" in f.error for f in failures)
    assert len(results(job.store)) == 10, "the units of the sound shard are done"
    victim.write_bytes(data)
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    assert list(verify(job)) == []


@pytest.mark.parametrize("goal", ["random_target", "least_likely"])
def test_targets_are_never_the_label(tmp_path, pattern, goal):
    attack = {"eps": "8/255", "steps": 2, "goal": goal, "eot_draws": 1}
    job, _ = ran(tiny.campaign(pattern, attacks={"pgd": attack}), tmp_path / "store")
    found = rows(job.store)
    assert len(found) == 16
    for row in found.values():
        assert row["target"] not in (None, row["label"]) and 0 <= row["target"] < tiny.CLASSES
        assert row["target_hits"] == sum(draw[0] == row["target"] for draw in row["adv_top5"])


def test_labels_outside_the_model_are_refused_before_work(tmp_path, pattern):
    content = tiny.campaign(pattern)
    content["models"]["net"]["classes"] = 4
    with pytest.raises(BadInput, match="label 4|classes"):
        prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    assert not (tmp_path / "store").exists(), "nothing was touched"
