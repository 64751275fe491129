"""A unit that fails three times is put aside with its tracebacks; the rest goes on, and it may be tried again."""

import itertools
import json
import threading
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.campaigns import parking
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data.pack import pack
from pipeline.errors import StorageError
from pipeline.execution import LocalExecutor
from pipeline.execution.queue import Failed, Queue
from pipeline.planning.units import Unit
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny

GUILTY = "net-none-pgd--photos-000000--000000-000003"


@pytest.fixture
def poisoned(monkeypatch):
    """One unit raises whoever attacks it, until `mended`."""
    attack = Worker.attack

    def poison(worker, unit):
        if unit.name == GUILTY:
            raise ValueError("a poisoned unit")
        return attack(worker, unit)

    monkeypatch.setattr(Worker, "attack", poison)
    return lambda: monkeypatch.setattr(Worker, "attack", attack)


@pytest.fixture
def job(tmp_path, pattern):
    return prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store"))


def go(job):
    return run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))


def test_a_poisoned_unit_is_parked_and_all_others_are_done(job, poisoned):
    outcome = go(job)
    assert (outcome.exit_code, outcome.failed_units, outcome.refused) == (1, (GUILTY,), "")
    assert len(results(job.store)) == 13 and job.todo() == [] and job.parked() == [GUILTY]
    found = json.loads(Store(job.store).read(f"parked/{GUILTY}.json"))
    assert found["unit"] == GUILTY and len(found["attempts"]) == 3
    for attempt in found["attempts"]:
        assert set(attempt) == {"worker", "host", "when", "error"} and attempt["worker"].endswith(f"@{attempt['host']}")
        assert "Traceback" in attempt["error"] and "a poisoned unit" in attempt["error"]
    assert [fault for fault in verify(job)] == [f"{GUILTY}: planned, but not done"]


def test_later_runs_leave_it_alone_and_still_exit_1(job, poisoned):
    go(job)
    before = Store(job.store).read(f"parked/{GUILTY}.json")
    outcome = go(opened(job.store))
    assert (outcome.exit_code, outcome.failed_units) == (1, (GUILTY,))
    assert Store(job.store).read(f"parked/{GUILTY}.json") == before, "it was not tried again"


def test_the_command_says_which_and_how_to_retry_and_retries(barrage, write, pattern, tmp_path, poisoned):
    file, store = write(tiny.campaign(pattern)), tmp_path / "store"
    code, _, err = barrage("run", file, "--here", "--store", store)
    assert code == 1 and GUILTY in err.replace("\n", "") and "--retry-parked" in err and "a poisoned unit; parked" in err
    code, _, err = barrage("run", file, "--here", "--store", store)
    assert code == 1 and "1 parked" in err
    poisoned()
    code, _, err = barrage("run", file, "--here", "--store", store, "--retry-parked")
    assert code == 0 and "1 parked units will be tried again" in err and "retry with" not in err
    assert barrage("verify", store)[0] == 0 and not list((store / "parked").iterdir())


def test_killed_while_retrying_it_is_simply_to_do(job, poisoned):
    go(job)
    parking.retry(Store(job.store))  # and the driver dies here
    poisoned()
    assert [unit.name for unit in job.todo()] == [GUILTY]
    assert go(job).exit_code == 0 and list(verify(job)) == []


def test_done_outweighs_parked(job, poisoned):
    """A rival managed it meanwhile: nothing is wrong any more."""
    go(job)
    poisoned()
    (unit,) = [unit for unit in job.units() if unit.name == GUILTY]
    list(LocalExecutor(attacking).execute(job, Queue([unit]), threading.Event()))
    assert job.parked() == [] and go(job).exit_code == 0 and list(verify(job)) == []


def test_parked_units_that_are_planned_no_more_do_not_count(job):
    Store(job.store).replace("parked/other-cell--photos-000000--000000-000003.json", b"{}")
    assert go(job).exit_code == 0


@pytest.mark.parametrize("place", ["results/", "adversarial/", "checkpoints/", "parked/", "campaign.yaml", "units/"])
def test_a_store_that_takes_no_more_stops_the_run_and_parks_nothing(job, monkeypatch, place, poisoned):
    create, replace = Store.create, Store.replace

    def full(write):
        def attempt(store, name, data):
            if name.startswith(place):
                raise StorageError(f"No space left on device: {name}")
            return write(store, name, data)

        return attempt

    monkeypatch.setattr(Store, "create", full(create))
    monkeypatch.setattr(Store, "replace", full(replace))
    outcome = go(job)
    assert outcome.exit_code == 1 and "No space left" in outcome.refused and outcome.failed_units == ()
    monkeypatch.setattr(Store, "create", create)
    monkeypatch.setattr(Store, "replace", replace)
    poisoned()
    assert go(job).exit_code == 0 and list(verify(job)) == []


def test_the_command_says_why_the_store_took_no_more(barrage, write, pattern, tmp_path, monkeypatch):
    def full(store, name, data):
        raise StorageError("No space left on device")

    monkeypatch.setattr(Store, "create", full)
    code, _, err = barrage("run", write(tiny.campaign(pattern)), "--here", "--store", tmp_path / "store")
    assert code == 1 and "No space left on device" in err and "resume with: barrage run" in err


@pytest.fixture
def five(tmp_path):
    """A job over five shards of two images, in units of one."""
    (tmp_path / "five").mkdir()
    files = [(tmp_path / "five" / f"image{i}.png", i) for i in range(10)]
    for i, (path, _) in enumerate(files):
        path.write_bytes(tiny.picture(i))
    pack(files, tmp_path / "five" / "shards", "photos", per_shard=2)
    content = tiny.campaign(str(tmp_path / "five/shards/photos-{000000..000004}.tar"), unit_images=1)
    return prepare(parse(content, "c.yaml"), str(tmp_path / "store"))


def lose(job, *numbers):
    """Moves shards away; gives what puts them back."""
    paths = [Path(job.shards[f"photos-{n:06d}"].url) for n in numbers]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    return lambda: [path.with_suffix(".away").rename(path) for path in paths]


@pytest.mark.parametrize("lost", [(0,), (4,), (1, 3)])
def test_units_of_shards_that_are_gone_are_parked_with_the_reason_and_the_rest_goes_on(five, lost):
    restore = lose(five, *lost)
    outcome = go(five)
    units = 4 * len(lost)
    assert outcome.refused == "" and len(outcome.failed_units) == units and len(results(five.store)) == 20 - units
    for name in outcome.failed_units:
        (url,) = [shard.url for shard in five.shards.values() if shard.name in name]
        attempts = json.loads(Store(five.store).read(f"parked/{name}.json"))["attempts"]
        assert len(attempts) == 3
        assert all(f"shard {url} can not be read: it is not there; restore it" in attempt["error"] for attempt in attempts)
    restore()
    assert parking.retry(Store(five.store)) == units
    assert go(five).exit_code == 0 and list(verify(five)) == []


@pytest.mark.parametrize("done", [0, 7])
def test_shards_that_are_all_gone_end_the_run_with_the_reason_and_park_nothing(five, done, monkeypatch):
    """From the start, or in the middle of the run."""
    create, restore, committed = Store.create, [], itertools.count(1)

    def counting(store, name, data):
        won = create(store, name, data)
        if name.startswith("results/") and next(committed) == done:
            restore.append(lose(five, *range(5)))
        return won

    if not done:
        restore.append(lose(five, *range(5)))
    monkeypatch.setattr(Store, "create", counting)
    outcome = go(five)
    assert outcome.exit_code == 1 and outcome.failed_units == () and parking.parked(Store(five.store)) == set()
    assert outcome.refused.startswith(f"shard {Path(five.shards['photos-000000'].url).parent}/photos-")
    assert outcome.refused.endswith(".tar can not be read: it is not there; restore it")
    assert len(Store(five.store).done()) == done
    restore[0]()
    assert go(five).exit_code == 0 and list(verify(five)) == []


def test_a_unit_begun_before_a_shard_was_lost_says_nothing_of_others(tmp_path):
    """It read its own shard while the service still answered."""
    store, lot = Store(tmp_path), parking.ParkingLot(Store(tmp_path), 5)
    lot.add(Failed(Unit("c", "s0", 0, 1), "Traceback", True, shard="shard s0 can not be read"))
    lot.settle(seconds=100)
    assert parking.parked(store) == set()
    lot.settle(seconds=0)
    assert parking.parked(store) == {"c--s0--000000-000001"}


@pytest.mark.parametrize(("shards", "enough"), [(1, 1), (2, 2), (3, 3), (10, 3)])
def test_three_different_unusable_shards_or_all_of_fewer_mean_that_the_storage_is_gone(tmp_path, shards, enough):
    lot = parking.ParkingLot(Store(tmp_path / "store"), shards)

    def failed(shard, start):
        return Failed(Unit("net-none-pgd", shard, start, start + 1), "gone", True, shard=f"shard {shard} can't be read")

    for number in range(enough - 1):
        for start in range(2):
            lot.add(failed(f"s{number}", start))
    with pytest.raises(StorageError, match=f"shard s{enough - 1} can't be read"):
        lot.add(failed(f"s{enough - 1}", 0))
    assert not parking.parked(Store(tmp_path / "store"))


def test_a_first_run_whose_units_are_all_parked_says_why_and_how_to_go_on(pattern, tmp_path, monkeypatch, write, barrage):
    def broken(worker, unit):
        raise RuntimeError("no [bold]luck\x1b[31m")

    monkeypatch.setattr(Worker, "attack", broken)
    path = write(tiny.campaign(pattern), "my campaign.yaml")
    code, out, err = barrage("run", path, "--store", tmp_path / "a store", "--here")
    assert code == 1 and out == "" and "Traceback" not in err
    assert err.count(r"RuntimeError: no [bold]luck\x1b[31m") >= 3
    (last,) = [line for line in err.splitlines() if "parked after three failures" in line]
    assert (
        last == f"6 parked after three failures; retry with: barrage run '{path}' --store '{tmp_path}/a store' --retry-parked"
    )
    code, _, err = barrage("table", tmp_path / "a store")
    assert code == 2 and "holds no rows yet" in err


def test_a_second_driver_that_adds_a_cell_and_a_shard_meanwhile_lets_the_first_end_well(packed, tmp_path, monkeypatch):
    one = str(packed / "shards" / "photos-000000.tar")
    small = tiny.campaign(one, cells=[{"model": "net", "defense": "none", "attack": "pgd"}])
    large = tiny.campaign(str(packed / "shards" / tiny.SHARDS))
    store, attack, others = str(tmp_path / "store"), Worker.attack, []

    def meanwhile(worker, unit):
        if not others:
            others.append(prepare(parse(large, "c.yaml"), store).write_down())
        return attack(worker, unit)

    monkeypatch.setattr(Worker, "attack", meanwhile)
    first = go(prepare(parse(small, "c.yaml"), store))
    assert (first.exit_code, first.refused) == (0, "")
    assert set(opened(store).cells) == {"net-none-pgd", "net-bart2-pgd"} and len(results(store)) == 5
    second = go(prepare(parse(large, "c.yaml"), store))
    assert second.exit_code == 0 and len(results(store)) == 16 and list(verify(opened(store))) == []
