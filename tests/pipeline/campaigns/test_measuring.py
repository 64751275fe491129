"""A campaign that does not say how large its units are: measured by its workers, decided once, kept by the store."""

import json
import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.measuring import Measured, Trial, rates, trials
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.errors import BadInput, Drained
from pipeline.execution import LocalExecutor
from pipeline.execution.ray.metrics import Metrics
from pipeline.planning import throughput, unit_sizes
from pipeline.planning.units import Cut, Unit
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.reporters import KeptLines

CELLS = {"net-none-pgd", "net-bart2-pgd"}


@pytest.fixture
def measured(monkeypatch):
    """Rates as given, by k, and the cells that were asked for."""
    asked, by_k = [], {0: 0.5, 2: 0.1}

    def rate(defended, cell, stack, device):
        asked.append(cell.name)
        found = by_k[cell.defense.k]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(throughput, "rate", rate)
    return asked, by_k


@pytest.fixture
def prepared(tmp_path, pattern):
    content = tiny.campaign(pattern, unit_images=None)
    return lambda **changes: prepare(parse(content | changes, "c.yaml"), str(tmp_path / "store"))


def go(job):
    return run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))


def cut(job):
    return {name: job.cuts[name].images for name in job.cells}


def test_units_follow_from_the_measured_rates(prepared, measured):
    """60 s a unit where little is to do: 6 and 18 draw-gradients an image, and 2 and 8 verdicts at a third."""
    asked, _ = measured
    assert go(prepared()).exit_code == 0
    assert set(asked) == CELLS and len(asked) == 2
    job = opened(prepared().store)
    assert cut(job) == {"net-none-pgd": round(60 / ((6 + 2 / 3) / 0.5)), "net-bart2-pgd": 1}
    assert len(results(job.store)) == 16 and list(verify(job)) == []


def test_a_store_is_measured_once_and_new_cells_when_they_come(prepared, measured):
    asked, by_k = measured
    go(prepared(cells=[{"model": "net", "defense": "none", "attack": "pgd"}]))
    assert asked == ["net-none-pgd"]
    before = prepared().cuts
    by_k |= {0: 100.0, 2: 100.0}
    assert [cell.name for cell in prepared().uncut] == ["net-bart2-pgd"]
    go(prepared())
    assert asked == ["net-none-pgd", "net-bart2-pgd"]
    assert opened(prepared().store).cuts["net-none-pgd"] == before["net-none-pgd"]
    go(prepared(unit_images=1))
    assert len(asked) == 2 and len(results(prepared().store)) == 16 and list(verify(prepared())) == []


def test_of_two_drivers_that_measure_the_first_to_write_decides_for_both(prepared):
    one, two = prepared().with_cuts({c: 0.1 for c in CELLS}), prepared().with_cuts({c: 9.9 for c in CELLS})
    assert one.cuts != two.cuts
    assert one.write_down().cuts == two.write_down().cuts == one.cuts


def test_killed_between_campaign_and_cuts_it_measures_again(prepared, measured, monkeypatch):
    create = Store.create

    def torn(store, name, data):
        if name.startswith("units/net-bart2"):
            raise KeyboardInterrupt
        return create(store, name, data)

    monkeypatch.setattr(Store, "create", torn)
    with pytest.raises(KeyboardInterrupt):
        go(prepared())
    monkeypatch.setattr(Store, "create", create)
    with pytest.raises(BadInput, match="no units of cell .* yet"):
        list(opened(prepared().store).units())
    assert go(prepared()).exit_code == 0 and len(results(prepared().store)) == 16


def test_a_cell_that_can_not_be_measured_gets_the_default(prepared, measured):
    asked, by_k = measured
    by_k[2] = RuntimeError("no")
    assert go(prepared()).exit_code == 0
    assert asked.count("net-bart2-pgd") == 3 and opened(prepared().store).cuts["net-bart2-pgd"] == Cut(unit_sizes.UNMEASURED)


def test_told_to_stop_while_measuring_it_leaves_nothing(prepared, measured):
    class Stopped(LocalExecutor):
        def execute(self, job, units, drain):
            drain.set()
            return super().execute(job, units, drain)

    job = prepared()
    run(job, Stopped(attacking), Reporter(Console(quiet=True)))
    assert Store(job.store).read("campaign.yaml") is None and not list(Store(job.store).list("units/*"))


def test_a_worker_takes_a_trial_like_a_unit(prepared, monkeypatch):
    monkeypatch.setattr(throughput, "SECONDS", 0.1)
    (event,) = Worker(prepared(), torch.device("cpu"), threading.Event()).work(Trial("net-bart2-pgd"))
    assert event.unit == Trial("net-bart2-pgd") and event.rate > 0


def test_the_rate_is_work_by_time(prepared, monkeypatch):
    """A clock that advances by a second a look: a step of one image and its 3 draws takes a second."""
    job, now = prepared(), iter(range(10**6))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: float(next(now)))
    cell = job.cells["net-bart2-pgd"]
    worker = Worker(job, torch.device("cpu"), threading.Event())
    done = throughput.rate(worker.defended(cell), cell, 4, torch.device("cpu"))
    assert done == pytest.approx(3.0)


def test_the_cut_in_the_store_is_plain_json(prepared, measured):
    go(prepared())
    found = json.loads(Store(prepared().store).read("units/net-none-pgd.json"))
    assert len(found.pop("sha256")) == 64
    assert found == {"format": 2, "release": "0.2", "images": 4, "rounds": 1, "smaller": {}}


def test_shards_in_front_under_a_limit_are_refused(prepared, pattern, measured):
    first = pattern.replace("{000000..000001}", "000001")
    go(prepared(data={"shards": [first], "resize": None, "crop": 32, "limit": 3}))
    with pytest.raises(BadInput, match="list new shards after the old ones"):
        prepared(data={"shards": [pattern], "resize": None, "crop": 32, "limit": 3})


def test_what_is_measured_counts_as_no_work():
    """Prometheus counts units; a trial is none."""
    metrics, counted = Metrics("campaign", Job.counters), []
    metrics._counters = {name: SimpleNamespace(inc=lambda value, tags: counted.append(value)) for name in Job.counters}
    metrics.count(Measured(Trial("net-bart2-pgd"), 2.0), 1)
    assert not counted
    metrics.count(Finished(Unit("net-bart2-pgd", "s0", 0, 2), 0, 36, 1.5), 1)
    assert counted == [36, 1.5, 1]


def test_cells_alike_are_measured_once():
    content = tiny.campaign("x.tar", attacks={"pgd": {"kind": "pgd", "eps": "8/255"}, "weak": {"eps": "2/255", "steps": 5}})
    content["cells"] = [{"model": "net", "defense": ["none", "bart2"], "attack": ["pgd", "weak"]}]
    cells = list(parse(content, "c").grid())
    kinds = trials(cells)
    assert len(kinds) == 2, "one without a defense, one with"
    found = rates(cells, [Measured(trial, 5.0 + i) for i, trial in enumerate(kinds)])
    assert found["net-none-pgd"] == found["net-none-weak"] != found["net-bart2-pgd"] == found["net-bart2-weak"]
    assert set(rates(cells, [Measured(Trial("net-none-weak"), 5.0)])) == {"net-none-pgd", "net-none-weak"}


def test_a_signal_ends_the_measuring_at_the_next_pass_of_the_model(prepared, monkeypatch):
    job, drain, passes = prepared(), threading.Event(), []
    worker = Worker(job, torch.device("cpu"), drain)

    def ask(module, inputs):
        passes.append(1)
        drain.set()

    worker.defended(job.cells["net-none-pgd"]).classifier.model.register_forward_pre_hook(ask)
    with pytest.raises(Drained):
        list(worker.work(Trial("net-none-pgd")))
    assert len(passes) == 1
    drain.clear()
    before = len(passes)
    worker.defended(job.cells["net-none-pgd"]).classifier(torch.rand(1, 3, 32, 32))
    assert len(passes) == before + 1, "the model is as it was"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_while_it_measures_says_so_and_ends(prepared, monkeypatch, sent):
    job = prepared()
    real = throughput.rate

    def stopped(*arguments):
        os.kill(os.getpid(), sent)
        return real(*arguments)

    monkeypatch.setattr(throughput, "rate", stopped)
    reporter = KeptLines()
    outcome = run(job, LocalExecutor(attacking), reporter)
    said = reporter.said
    assert outcome.stopped_by == sent and outcome.exit_code == 128 + sent
    assert any(f"{sent.name}: workers write their checkpoints and leave" in line for line in said)
    assert not Store(job.store).has_rows()
