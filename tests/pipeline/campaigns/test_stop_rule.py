"""The stop rule: where a cell ends is decided by rows and seed, never by speed, order, kills or a second driver."""

import io
import itertools
import random
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import opened
from pipeline.campaigns.next_units import Release
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data.order import order
from pipeline.data.pack import pack
from pipeline.errors import BadInput, StorageError
from pipeline.execution import LocalExecutor
from pipeline.execution.queue import Queue
from pipeline.planning.units import Cut, Unit
from pipeline.scoring.intervals import Rate, rate
from pipeline.status.interim_checks import InterimCheck, rounds_to_check, scopes
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.stores import handmade

STOP = {"interval": 0.19, "minimum_images": 8}
CELL = "net-bart2-pgd"


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """Two shards of 18 and 12 images, sorted by class."""
    folder = tmp_path_factory.mktemp("many")
    files = []
    for i in range(30):
        path = folder / f"image{i:02d}.png"
        path.write_bytes(tiny.picture(i))
        files.append((path, i % 18 * tiny.CLASSES // 18))
    pack(files, folder / "shards", "photos", per_shard=18)
    return str(folder / "shards" / "photos-{000000..000001}.tar")


def content(pattern, **changes):
    return tiny.campaign(
        pattern, attacks={"pgd": {"eps": "8/255", "steps": 1, "eot_draws": 1}}, unit_images=2, stop=STOP,
        save_adversarial=False, workers={"checkpoint_seconds": 1e9, "stack": 8}, **changes,
    )  # fmt: skip


def made(pattern, store, **changes):
    return prepare(parse(content(pattern) | changes, "c.yaml"), str(store))


def go(job, executor=None):
    return run(job, executor or LocalExecutor(attacking), Reporter(Console(quiet=True)))


@pytest.fixture(scope="module")
def whole(pattern, tmp_path_factory):
    """The rows of all images, by cell and image."""
    job = made(pattern, tmp_path_factory.mktemp("whole") / "store", stop=None)
    go(job)
    return job, {(row["cell"], row["image_key"]): row for row in results(job.store).to_pylist()}


@pytest.fixture(scope="module")
def stopped(pattern, tmp_path_factory):
    """A store that its stop rule ended."""
    job = made(pattern, tmp_path_factory.mktemp("stopped") / "store")
    assert go(job).exit_code == 0
    return job


def test_a_cell_ends_at_the_first_interim_check_with_a_narrow_interval_on_a_fair_sample(whole, stopped):
    """By hand: the keyed order of each shard, its first shares, the interval of the table."""
    _, found = whole
    keys = [[f"image{i:02d}" for i in range(18)], [f"image{i:02d}" for i in range(18, 30)]]
    ends = {}
    for cell in stopped.cells:
        for number in range(15):
            sample = [
                keys[shard][place]
                for shard, count in enumerate((18, 12))
                for place in order(0, f"photos-{shard:06d}", count)[: count * (number + 1) // 15]
            ]
            if len(sample) < 8:
                continue
            shares = [found[cell, key]["adv_correct"] / found[cell, key]["evaluation_draws"] for key in sample]
            if (rate(shares).high - rate(shares).low) / 2 <= STOP["interval"]:
                break
        ends[cell] = {key for key in sample}
    there = {cell: set() for cell in ends}
    for row in results(stopped.store).to_pylist():
        there[row["cell"]].add(row["image_key"])
    assert there == ends
    assert 8 < len(ends[CELL]) < 30, "the rule decided, not the minimum or the end"


def test_the_run_says_which_cell_ended_and_counts_it_no_more(pattern, tmp_path):
    said = io.StringIO()
    job = made(pattern, tmp_path / "store")
    run(job, LocalExecutor(attacking), Reporter(Console(file=said, width=200)))
    count = len(results(job.store))
    last = said.getvalue().splitlines()[-1]
    assert f"{CELL}: stopped after {count // 2} of 30 images" in said.getvalue()
    assert last.startswith(f"{count}/{count} images") and last.endswith("0:00 left")


def test_a_stopped_cell_is_complete_and_says_so(stopped):
    assert stopped.todo() == [] and stopped.over and opened(stopped.store).over
    assert list(verify(opened(stopped.store))) == []
    scope = stopped.scopes()[CELL]
    assert scope.images == 30 and scope.stopped
    assert scopes(stopped.store) == stopped.scopes(), "read without the campaign, they are the same"
    done = Store(stopped.store).done()
    assert {u.name for u in stopped.expected()} == done and len(done) < len(list(stopped.units()))


class Shuffled(LocalExecutor):
    """A worker that takes any unit that may be begun, and is killed or told to leave after some events."""

    def __init__(self, seed, events=10**9):
        super().__init__(attacking)
        self.chance, self.events = random.Random(seed), events

    def execute(self, job, queue, drain):
        work, waiting = self.begin(job, torch.device("cpu"), drain), []
        while True:
            while (unit := queue.take("w")) is not None:
                waiting.append(unit)
            if not waiting:
                return
            for event in work(waiting.pop(self.chance.randrange(len(waiting)))):
                yield event
                self.events -= 1
                if self.events == 0:
                    raise KeyboardInterrupt


@pytest.mark.parametrize("seed", range(2))
def test_any_order_ends_with_the_same_rows(pattern, stopped, tmp_path, seed):
    job = made(pattern, tmp_path / "store")
    go(job, Shuffled(seed))
    assert decided(job.store) == decided(stopped.store)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_with_the_same_rows(pattern, stopped, tmp_path, seed):
    chance, job = random.Random(seed), made(pattern, tmp_path / "store")
    for attempt in itertools.count():
        try:
            go(job, Shuffled(attempt, chance.randrange(1, 60)))
            break
        except KeyboardInterrupt:
            job = made(pattern, tmp_path / "store")
    assert attempt > 0
    assert decided(job.store) == decided(stopped.store) and list(verify(job)) == []


def test_killed_between_the_last_row_of_a_round_and_its_interim_check(pattern, stopped, tmp_path, monkeypatch):
    job, create, failures = made(pattern, tmp_path / "store"), Store.create, itertools.count()

    def torn(store, name, data):
        if name.startswith("looks/") and next(failures) % 2 == 0:
            raise KeyboardInterrupt
        return create(store, name, data)

    monkeypatch.setattr(Store, "create", torn)
    torn_runs = 0
    while True:
        try:
            go(job)
            break
        except KeyboardInterrupt:
            torn_runs += 1
            job = made(pattern, tmp_path / "store")
    assert torn_runs >= 3, "every interim check was torn once"
    assert decided(job.store) == decided(stopped.store) and list(verify(job)) == []


@pytest.mark.parametrize("seed", range(2))
def test_two_drivers_at_once_end_with_the_same_rows(pattern, stopped, tmp_path, seed):
    """Each believes to be alone; they take turns at random, event by event."""
    chance, drivers = random.Random(seed), []
    job = made(pattern, tmp_path / "store").write_down()
    for _ in range(2):
        todo = job.todo()
        release = Release(job, todo)
        queue = Queue(release.ready())
        drivers.append((release, queue, Shuffled(chance.random()).execute(job, queue, threading.Event())))
    while drivers:
        release, queue, events = chosen = chance.choice(drivers)
        event = next(events, None)
        if event is None:
            drivers.remove(chosen)
        elif isinstance(event, Finished):
            queue.add(release.closed(event.unit))
    assert decided(job.store) == decided(stopped.store) and list(verify(job)) == []


def test_a_unit_that_was_parked_holds_up_nobody_and_may_come_later(pattern, tmp_path, monkeypatch):
    job = made(pattern, tmp_path / "store")
    victim, attack = next(u for u in job.units() if u.cell == CELL), Worker.attack

    def broken(worker, unit):
        if unit == victim:
            raise RuntimeError("poison")
        return attack(worker, unit)

    monkeypatch.setattr(Worker, "attack", broken)
    outcome = go(job)
    assert outcome.failed_units == (victim.name,) and outcome.exit_code == 1
    checks = job.interim_checks(CELL)
    assert checks and all(check.without == (victim.name,) for check in checks) and job.ended_by(CELL)
    monkeypatch.undo()
    Store(job.store).remove(f"parked/{victim.name}.json")
    assert job.todo() == [victim]
    assert go(job).exit_code == 0
    assert job.interim_checks(CELL) == checks, "what was decided is decided"
    assert list(verify(job)) == []


def test_verify_names_an_interim_check_that_the_rows_contradict(pattern, tmp_path):
    job = made(pattern, tmp_path / "store")
    go(job)
    path = Path(job.store) / f"looks/{CELL}/{job.interim_checks(CELL)[1].round:02d}.json"
    content = formats.of_json(path.name, path.read_bytes())
    content["rate"]["images"] += 10
    path.write_bytes(formats.to_json(content))
    assert [fault for fault in verify(job) if "the interim check after round" in fault]


def test_a_stop_rule_may_become_stricter_or_go_and_nothing_else(pattern, stopped, whole, tmp_path):
    import shutil

    shutil.copytree(stopped.store, tmp_path / "store")
    for stop, named in (
        ({**STOP, "interval": 0.25}, "interval"), ({**STOP, "rule": "vote"}, "rule"), ({**STOP, "minimum_images": 2}, "minimum")
    ):  # fmt: skip
        with pytest.raises(BadInput, match=named):
            made(pattern, tmp_path / "store", stop=stop)
    with pytest.raises(BadInput, match="without a stop rule"):
        made(pattern, whole[0].store)
    stricter = made(pattern, tmp_path / "store", stop={**STOP, "interval": 0.15})
    before = len(results(stricter.store))
    go(stricter)
    assert len(results(stricter.store)) > before and list(verify(stricter)) == []
    every = made(pattern, tmp_path / "store", stop=None)
    go(every)
    assert len(results(every.store)) == 60 and list(verify(opened(every.store))) == []
    assert {k: r["adv_top5"] for k, r in whole[1].items()} == {
        (r["cell"], r["image_key"]): r["adv_top5"] for r in results(every.store).to_pylist()
    }


def test_a_store_without_the_cut_of_a_cell_is_refused_in_words(pattern, tmp_path):
    job = made(pattern, tmp_path / "store").with_cuts({})
    job.write_down()
    Path(job.store, f"units/{next(iter(job.cells))}.json").unlink()
    for read in (lambda job: job.todo(), lambda job: list(job.expected())):
        with pytest.raises(BadInput, match="has no units of cell .* yet: run the campaign again"):
            read(opened(job.store))


@pytest.mark.parametrize("rule", ["vote", "mean", "persistent"])
def test_other_rules_may_decide(pattern, tmp_path, rule):
    job = made(pattern, tmp_path / "store", stop={"interval": 0.3, "minimum_images": 5, "rule": rule})
    assert go(job).exit_code == 0 and list(verify(job)) == [] and job.ended_by(CELL)


def test_an_interim_check_counts_good_rows_of_its_units_and_names_units_without_rows(tmp_path):
    from pipeline.campaigns import stop_rule
    from pipeline.store.schema import encode

    def row(unit, right, **more):
        image = {"shard": "s", "image_key": f"{unit} {right}"}
        return (
            {"cell": "c", "unit": unit, "status": "ok", "label": 1, "evaluation_draws": 4, "adv_correct": right} | image | more
        )

    one, two, three, missing = (
        f"c--s--{part}" for part in ("000000-000001", "000001-000003", "000003-000004", "000004-000005")
    )
    cut = Cut(2, 20, {"s": ((1, 1), (2, 1), (1, 2))})
    store, bad = handmade.planned(tmp_path, "c", 5, cut), row(two, None, status="bad_image", label=None)
    for unit, found in ((one, [row(one, 1)]), (two, [row(two, 3), bad]), (three, [row(three, 4)])):
        store.create(f"results/{unit}.parquet", encode(found, {}))
    check = stop_rule.compute(str(tmp_path), "c", 0, cut, "single", [one, two, missing])
    assert (check.rate.images, check.rate.value, check.without) == (2, 0.5, (missing,))
    assert stop_rule.compute(str(tmp_path), "c", 0, cut, "single", [missing]).rate is None
    assert stop_rule.compute(str(tmp_path), "d", 0, cut, "vote", [missing]).rate is None


def test_interim_checks_follow_whole_rounds_with_enough_images_but_the_last():
    from pipeline.config.campaign import Stop

    stop = Stop(interval=0.02, minimum_images=500)
    assert rounds_to_check(stop, Cut(10, 20), {"a": 1000, "b": 1000}) == list(range(4, 19))
    assert rounds_to_check(stop, Cut(10, 1), {"a": 1000}) == [] == rounds_to_check(stop, Cut(10, 20), {"a": 400})
    assert Cut(10, 20).round_of(Unit("c", "a", 50, 60), 1000) == 1


@pytest.mark.parametrize("mean", [0.02, 0.05, 0.3, 0.5])
def test_the_interval_of_a_stopped_cell_covers_the_truth_as_often_as_it_says(mean):
    """1,000 cells of images of differing difficulty, checked after each twentieth. Where few are right it covers more often."""
    from pipeline.config.campaign import Stop

    draws, stop, hits = np.random.default_rng(3), Stop(interval=0.04, minimum_images=100), 0
    for _ in range(1000):
        shares = []
        for number in range(20):
            shares += (draws.binomial(5, draws.beta(mean, 1 - mean, 50)) / 5).tolist()
            check = InterimCheck(cell="c", round=number, rounds=20, rate=rate(shares))
            if check.ends(stop):
                break
        hits += check.rate.low <= mean <= check.rate.high
    assert 0.93 <= hits / 1000 <= (0.97 if mean > 0.1 else 1)


def test_a_check_by_an_earlier_interval_stands_and_its_ends_are_not_compared():
    from pipeline.scoring.intervals import VERSION

    now = InterimCheck(cell="c", round=3, rounds=20, rate=Rate(0.5, 0.4, 0.6, 30), interval_version=VERSION)
    earlier = InterimCheck(cell="c", round=3, rounds=20, rate=Rate(0.5, 0.45, 0.55, 30), without=("u",))
    assert earlier.interval_version == 1 and earlier.agrees(now), "release 0.1 recorded no version"
    for changes in ({"rate": Rate(0.5, 0.4, 0.6 + 1e-12, 30)}, {"without": ("u",)}):
        assert now.model_copy(update=changes).agrees(now)
    for rate_ in (Rate(0.5, 0.4, 0.61, 30), Rate(0.5, 0.39, 0.6, 30), Rate(0.51, 0.4, 0.6, 30), Rate(0.5, 0.4, 0.6, 31), None):
        assert not now.model_copy(update={"rate": rate_}).agrees(now)
        assert not now.agrees(now.model_copy(update={"rate": rate_}))
    for changes in ({"cell": "d"}, {"round": 4}, {"rounds": 21}):
        assert not now.model_copy(update=changes).agrees(now)
    assert not now.agrees(now.model_copy(update={"without": ("u",)}))
    nothing = now.model_copy(update={"rate": None})
    assert nothing.agrees(nothing)


def test_a_store_that_refuses_an_interim_check_stops_the_run_with_the_reason(pattern, tmp_path, monkeypatch):
    job, create = made(pattern, tmp_path / "store"), Store.create

    def full(store, name, data):
        if name.startswith("looks/"):
            raise StorageError("No space left on device")
        return create(store, name, data)

    monkeypatch.setattr(Store, "create", full)
    outcome = go(job)
    assert "No space left" in outcome.refused and outcome.exit_code == 1 and not outcome.failed_units
