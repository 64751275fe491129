"""Run whole campaigns with shards and store in a bucket of a real S3 server, over a network that fails."""

import threading
from itertools import count

import pytest
import torch
from rich.console import Console

from pipeline.campaigns import parking
from pipeline.campaigns.job import opened
from pipeline.campaigns.parking import parked
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import Data, parse
from pipeline.data import shards
from pipeline.data.pack import pack
from pipeline.errors import BadInput, Drained, ShardUnusable
from pipeline.execution import LocalExecutor
from pipeline.status.summary import Reader
from pipeline.storage import bucket
from pipeline.storage.urls import at
from pipeline.store import committed
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.faulty_s3 import SECRET

CPU = torch.device("cpu")
UNDEFENDED = {"cells": [{"model": "net", "defense": "none", "attack": "pgd"}]}


@pytest.fixture
def remote(s3, tmp_path, shards):
    """Return a pattern of two shards in the bucket, copies of the local shards of `pattern`."""
    images = sorted((tmp_path / "images").glob("*.png"))
    written = pack([(p, i % tiny.CLASSES) for i, p in enumerate(images)], f"{s3.url}/val", "photos", per_shard=5)
    assert written == [f"{s3.url}/val/photos-{i:06d}.tar" for i in range(2)]
    return f"{s3.url}/val/photos-{{000000..000001}}.tar"


def ran(content, store):
    job = prepare(parse(content, "c.yaml"), str(store))
    return job, run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))


def every(n, faults):
    """Make every n-th request fail, by each of these faults in turn."""
    numbers = count(1)

    def fault(request):
        number = next(numbers)
        return None if number % n else faults[number // n % len(faults)]

    return fault


def test_a_campaign_in_a_bucket_gives_the_rows_of_one_on_disk_through_every_fault(s3, tmp_path, pattern, remote):
    undisturbed, _ = ran(tiny.campaign(pattern), tmp_path / "store")
    s3.proxy.delay, s3.proxy.fault = 0.05, every(3, ["500", "503", "409", "lost", "half", "unanswered", "slow"])
    job, outcome = ran(tiny.campaign(remote), f"{s3.url}/store")
    assert outcome.exit_code == 0 and len(results(job.store)) == 16
    assert sum(fault is not None for _, fault in s3.proxy.heard) > 30
    assert decided(job.store) == decided(undisturbed.store)
    assert list(verify(opened(job.store))) == []
    assert Reader(job.store).status().complete and Reader(job.store).status().running == []


def test_a_store_holds_no_credentials(s3, remote):
    job, _ = ran(tiny.campaign(remote, **UNDEFENDED), f"{s3.url}/store")
    files = at(job.store)
    folders = ["", "results", *files.folders("adversarial")]
    names = [name for folder in folders for name in files.names(folder)]
    assert len(names) == 1 + 2 * 3
    assert not any(SECRET.encode() in files.read(name) or b"Signature" in files.read(name) for name in names)


def test_a_drained_unit_goes_on_from_its_checkpoint_in_the_bucket(s3, tmp_path, pattern, remote):
    content = tiny.campaign(remote, workers={"checkpoint_seconds": 1e9})
    job = prepare(parse(content, "c.yaml"), f"{s3.url}/store")
    job.write_down()
    unit = next(job.units())
    worker = Worker(job, CPU, threading.Event())
    worker.drain.set()
    with pytest.raises(Drained):
        list(worker.attack(unit))
    (running,) = Reader(job.store).status().running
    assert (running.unit, running.step, running.steps) == (unit.name, 1, 6)
    events = list(Worker(job, CPU, threading.Event()).attack(unit))
    assert events[0].step == 1, "it did not go on from the checkpoint"
    assert list(Store(job.store).list("checkpoints/*")) == []


def test_the_slower_of_two_workers_on_a_bucket_throws_its_work_away(s3, remote):
    job = prepare(parse(tiny.campaign(remote, **UNDEFENDED), "c.yaml"), f"{s3.url}/store")
    job.write_down()
    unit = next(job.units())
    first, second = (Worker(job, CPU, threading.Event()).attack(unit) for _ in range(2))
    next(first), next(second)
    s3.proxy.fault = every(2, ["unanswered"])
    assert [list(first)[-1].lost, list(second)[-1].lost] == [False, True]
    assert len(results(job.store)) == unit.images


def test_a_refused_write_ends_the_run_with_the_reason_and_parks_nothing(s3, remote):
    job = prepare(parse(tiny.campaign(remote, **UNDEFENDED), "c.yaml"), f"{s3.url}/store")
    s3.proxy.fault = lambda request: "403" if request.method == "PUT" and "results" in request.path else None
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert "can not be written: 403 Forbidden (AccessDenied" in outcome.refused and outcome.exit_code == 1
    assert outcome.failed_units == () and parked(Store(job.store)) == set() == Store(job.store).done()
    s3.proxy.fault = lambda request: None
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    assert list(verify(job)) == []


def test_a_store_that_is_gone_ends_the_run_with_the_reason(s3, remote):
    job = prepare(parse(tiny.campaign(remote, **UNDEFENDED), "c.yaml"), f"{s3.url}/store")
    s3.proxy.fault = lambda request: "403" if "/store" in request.path else None
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert "AccessDenied" in outcome.refused and outcome.exit_code == 1 and outcome.failed_units == ()


def test_a_cell_in_a_bucket_is_sealed_and_read_as_before(s3, remote):
    job, _ = ran(tiny.campaign(remote), f"{s3.url}/store")
    before, done, store = decided(job.store), Store(job.store).done(), Store(job.store)
    found = seal(store, "net-bart2-pgd")
    assert found.files == 3 and committed.files(store)[1]["net-bart2-pgd"] == [found.name]
    assert decided(job.store) == before and store.done() == done and list(verify(opened(job.store))) == []
    assert Reader(job.store).status().complete


def test_the_command_works_on_urls(s3, remote, write, barrage):
    file = write(tiny.campaign(remote, **UNDEFENDED, store=f"{s3.url}/store"))
    code, _, err = barrage("run", file, "--here")
    assert code == 0, err
    for command in ("status", "table", "verify"):
        code, _, err = barrage(command, f"{s3.url}/store")
        assert code == 0, err
    code, _, err = barrage("status", f"{s3.url}/none")
    assert code == 2 and "holds no campaign.yaml" in err
    s3.proxy.fault = lambda request: "403"
    code, _, err = barrage("status", f"{s3.url}/store")
    assert code == 2 and "AccessDenied" in err and len(err.strip().splitlines()) == 1


def test_a_bucket_that_can_not_be_written_to_is_refused_before_work(s3, remote):
    s3.proxy.fault = lambda request: "403" if request.method == "PUT" else None
    with pytest.raises(BadInput, match="AccessDenied"):
        prepare(parse(tiny.campaign(remote), "c.yaml"), f"{s3.url}/store")


def test_a_shard_is_streamed_in_parts_and_hashed_on_the_way(s3, remote, monkeypatch):
    monkeypatch.setattr(bucket, "SMALL", 100)
    monkeypatch.setattr(bucket, "PART", 2048)
    url = f"{s3.url}/val/photos-000000.tar"
    at(f"{s3.url}/val").remove(shards.INDEX)
    s3.proxy.heard.clear()
    s3.proxy.fault = every(4, ["half", "500"])
    shard = shards.inspect(url)
    assert (shard.images, shard.url) == (5, url)
    assert [sample.key for sample in shards.read(shard, range(1, 3))] == ["image1", "image2"]
    ranges = [r.headers["range"] for r, _ in s3.proxy.heard if r.method == "GET" and r.path.endswith("photos-000000.tar")]
    spans = [range_.removeprefix("bytes=").split("-") for range_ in ranges]
    assert len(spans) > 2 * shard.bytes / 16384 and all(int(b) - int(a) < 16384 for a, b in spans)
    s3.proxy.fault = lambda request: None
    data = at(f"{s3.url}/val").read("photos-000000.tar")
    at(f"{s3.url}/val").replace("photos-000000.tar", data[:600] + b"x" + data[601:])
    with pytest.raises(ShardUnusable, match="SHA-256"):
        shards.read(shard, range(5))
    at(f"{s3.url}/val").remove("photos-000000.tar")
    with pytest.raises(ShardUnusable, match="can not be read"):
        shards.read(shard, range(5))


def test_a_shard_out_of_reach_is_no_damaged_shard(s3, remote, monkeypatch):
    """Its images are good: rows that call them damaged would be missing from every rate for ever."""
    shard = shards.inspect(f"{s3.url}/val/photos-000000.tar")
    monkeypatch.setattr(bucket, "SMALL", 100)
    monkeypatch.setattr(bucket, "PART", 2048)
    numbers = count()
    s3.proxy.fault = lambda request: "403" if next(numbers) == 1 else None  # once: what follows is readable
    with pytest.raises(ShardUnusable, match="^s3://.*can not be read: 403") as caught:
        shards.read(shard, range(5))
    assert len(caught.value.args) == 1


def test_a_shard_that_is_forbidden_costs_its_own_units_and_no_others(s3, remote):
    job = prepare(parse(tiny.campaign(remote, **UNDEFENDED), "c.yaml"), f"{s3.url}/store")
    s3.proxy.fault = lambda request: "403" if request.path.endswith("photos-000001.tar") else None
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert outcome.refused == "" and outcome.failed_units == ("net-none-pgd--photos-000001--000000-000003",)
    assert len(results(job.store)) == 5
    assert list(verify(job))[-1].startswith(f"{s3.url}/val/photos-000001.tar can not be read: 403 Forbidden (AccessDenied")
    s3.proxy.fault = lambda request: None
    parking.retry(Store(job.store))
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0 and list(verify(job)) == []


def test_shards_that_are_all_forbidden_end_the_run_and_park_nothing(s3, remote):
    job = prepare(parse(tiny.campaign(remote, **UNDEFENDED), "c.yaml"), f"{s3.url}/store")
    s3.proxy.fault = lambda request: "403" if "/val/" in request.path else None
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert "val/photos-00000" in outcome.refused and "AccessDenied" in outcome.refused and outcome.failed_units == ()
    assert parked(Store(job.store)) == set()


def test_all_pages_of_a_listing_count(s3, remote):
    """The server lists five names per page: a unit on a later page is done, and its checkpoint is found."""
    job, outcome = ran(tiny.campaign(remote, unit_images=1), f"{s3.url}/store")
    assert outcome.exit_code == 0
    names = {unit.name for unit in job.units()}
    store, pages = Store(job.store), [r.path for r, _ in s3.proxy.heard if "continuation-token" in r.path]
    assert len(names) == 16 and pages
    assert store.done() == names == {entry.name.split("/")[-1][:-8] for entry in store.list("results/*")}
    assert job.todo() == [] and len(results(job.store)) == 16 and Reader(job.store).status().complete
    for name in sorted(names):
        store.replace(f"checkpoints/{name}.safetensors", b"x")
        store.replace(f"parked/{name}.json", b"{}")
    assert parked(store) == names and len(list(store.list("checkpoints/*"))) == 16 == len(list(store.scan("checkpoints/*")))
    assert len(list(store.list("adversarial/cell=*/*.tar"))) == 16


def test_patterns_and_wildcards_find_shards_in_the_bucket(s3, remote):
    found = shards.paths(Data(shards=f"{s3.url}/val/*.tar"))
    assert found == shards.paths(Data(shards=remote)) and all(size > 5000 for size in found.values())
    with pytest.raises(BadInput, match="photos-000002.tar does not exist"):
        shards.paths(Data(shards=f"{s3.url}/val/photos-{{000001..000002}}.tar"))
    with pytest.raises(BadInput, match="match no file"):
        shards.paths(Data(shards=f"{s3.url}/none/*.tar"))


def test_shards_of_a_web_server_are_read_without_credentials(s3, remote):
    s3.publish()
    found = shards.paths(Data(shards=remote.replace("s3://", s3.proxy.url + "/")))
    s3.proxy.heard.clear()
    for web, own in zip(found, shards.paths(Data(shards=remote)), strict=True):
        shard = shards.inspect(web)
        assert (shard.sha256, shard.name, shard.url) == (shards.inspect(own).sha256, shards.name(own), web)
        assert shards.read(shard, range(3)) == shards.read(shards.inspect(own), range(3))
    signed = ["authorization" in request.headers for request, _ in s3.proxy.heard]
    assert 0 < sum(signed) < len(signed)
