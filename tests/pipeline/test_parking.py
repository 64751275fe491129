"""A unit that fails three times is put aside with its tracebacks; the rest goes on, and it may be tried again."""

import json
import threading

import pytest
from rich.console import Console

from pipeline import parking
from pipeline.campaign import parse
from pipeline.executors import Here
from pipeline.files import Refused
from pipeline.job import opened, prepare
from pipeline.progress import Reporter
from pipeline.queue import Queue
from pipeline.results import results
from pipeline.run import run
from pipeline.store import Store
from pipeline.verify import verify
from pipeline.worker import Worker
from tests.pipeline import tiny

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
    return run(job, Here(), Reporter(Console(quiet=True)))


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
    assert code == 0 and "1 parked units are to do again" in err and "retry with" not in err
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
    list(Here().execute(job, Queue([unit]), threading.Event()))
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
                raise Refused(f"No space left on device: {name}")
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
        raise Refused("No space left on device")

    monkeypatch.setattr(Store, "create", full)
    code, _, err = barrage("run", write(tiny.campaign(pattern)), "--here", "--store", tmp_path / "store")
    assert code == 1 and "No space left on device" in err and "go on with: barrage run" in err
