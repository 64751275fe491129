"""Use files in a bucket of a real S3 server, through a proxy that fails on demand."""

import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count

import pytest

from pipeline.errors import BadInput, StorageError
from pipeline.storage import bucket
from pipeline.store.layout import Store

PASSING = ("500", "503", "409", "507", "slow", "half", "lost", "unanswered")
"""Faults after which the same request may succeed."""


def first(times, fault, method=None):
    """Return a fault for the first requests (of one method), then none."""
    numbers = count()
    return lambda request: fault if method in (None, request.method) and next(numbers) < times else None


@pytest.mark.parametrize("fault", PASSING)
def test_a_file_is_created_once_whatever_happens_on_the_way(s3, fault):
    store = Store(s3.url)
    s3.proxy.fault = first(2, fault, "PUT")
    assert store.create("results/cell=a/u.parquet", b"mine"), "our own write was taken for a rival's"
    assert [said for _, said in s3.proxy.heard].count(fault) == (1 if fault == "slow" else 2)
    s3.proxy.fault = first(2, fault, "PUT")
    assert not store.create("results/cell=a/u.parquet", b"a rival's")
    assert store.read("results/cell=a/u.parquet") == b"mine"
    assert store.done() == {"u"}


@pytest.mark.parametrize("fault", PASSING)
def test_every_other_request_is_tried_again(s3, fault, monkeypatch):
    monkeypatch.setattr(bucket, "SMALL", 10)
    s3.proxy.delay = 0.05
    store, data = Store(s3.url), random.Random(0).randbytes(3000)
    s3.proxy.fault = first(2, fault)
    store.replace("checkpoints/u", b"old")
    store.replace("checkpoints/u", data)
    s3.proxy.fault = first(2, fault)
    assert store.read("checkpoints/u") == data
    s3.proxy.fault = first(2, fault)
    assert store.read("checkpoints/u", 100) == data[:100]
    s3.proxy.fault = first(2, fault)
    (entry,) = store.list("checkpoints/*")
    assert (entry.name, entry.bytes) == ("checkpoints/u", 3000)
    s3.proxy.fault = first(2, fault)
    with store.open(entry.name) as file:
        assert file.seek(-1000, 2) == 2000 and file.read(10) == data[2000:2010]
        assert file.seek(5) == 5 and file.read() == data[5:]
    s3.proxy.fault = first(2, fault)
    store.remove("checkpoints/u")
    assert store.read("checkpoints/u") is None
    store.remove("checkpoints/u")


@pytest.mark.parametrize("fault", ["500", "half", "lost", "unanswered"])
def test_a_listing_that_breaks_off_is_whole_in_the_end(s3, fault):
    store, names = Store(s3.url), [f"results/cell=a/{i:02d}.parquet" for i in range(23)]
    for name in [*names, "results/cell=a/.hidden.parquet", "results/cell=a/deeper/00.parquet", "results/cellar/1.parquet"]:
        store.replace(name, b"x")
    for broken in range(7):  # every page once: folders, then five of files
        numbers = count()
        s3.proxy.fault = lambda request, broken=broken, numbers=numbers: fault if next(numbers) == broken else None
        assert [entry.name for entry in store.list("results/cell=*/*.parquet")] == names
    s3.proxy.fault = lambda request: None
    assert store.done() == {f"{i:02d}" for i in range(23)}


def test_of_rivals_one_wins_though_answers_are_lost(s3):
    dice = random.Random(0)
    s3.proxy.fault = lambda request: dice.choice(["unanswered", "500", "409", "half", None])
    for place in range(5):
        name, barrier, wins = f"results/cell=a/{place}.parquet", threading.Barrier(6), []

        def attempt(i, name=name, barrier=barrier, wins=wins):
            barrier.wait()
            if Store(s3.url).create(name, b"%d" % i * 1000):
                wins.append(i)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(attempt, range(6)))
        assert len(wins) == 1 and Store(s3.url).read(name) == b"%d" % wins[0] * 1000


def test_a_service_without_conditional_writes_is_refused_at_the_door(s3):
    s3.proxy.fault = lambda request: "deaf"
    with pytest.raises(BadInput, match="ignores the condition.*conditional writes"):
        Store(s3.url).ready()
    assert list(Store(s3.url)._files._all("")) == [], "the probe was left"  # type: ignore[attr-defined]
    s3.proxy.fault = lambda request: None
    Store(s3.url).ready()
    assert list(Store(s3.url)._files._all("")) == [], "the probe was left"  # type: ignore[attr-defined]


def test_a_probe_that_a_dead_run_left_is_swept_when_it_is_old(s3, monkeypatch):
    store = Store(s3.url)
    store.replace(".probe-dead", b"")
    store.replace("campaign.yaml", b"")
    store.sweep()
    assert store.read(".probe-dead") == b""
    monkeypatch.setattr(bucket, "STALE_SECONDS", -60)
    store.sweep()
    assert store.read(".probe-dead") is None and store.read("campaign.yaml") == b""


def test_what_is_forbidden_is_not_asked_for_twice(s3):
    s3.proxy.fault = lambda request: "403"
    store = Store(s3.url)
    requests = [
        lambda: store.create("a", b""), lambda: store.read("a"), lambda: store.replace("a", b""), lambda: store.remove("a"),
        lambda: list(store.list("results/*")),
    ]  # fmt: skip
    for number, request in enumerate(requests, 1):
        with pytest.raises(StorageError, match=rf"{s3.url}/(a|results) can not be \w+: 403 .*AccessDenied.*credentials"):
            request()
        assert len(s3.proxy.heard) == number
    with pytest.raises(BadInput, match="AccessDenied"):
        store.ready()


def test_a_service_that_stays_away_is_given_up_with_its_last_word(s3):
    s3.proxy.fault = lambda request: "503"
    with pytest.raises(StorageError, match="u can not be written: 503 .*SlowDown.*run again"):
        Store(s3.url, patience=0.3).create("u", b"data")
    assert len(s3.proxy.heard) > 3
    s3.proxy.close()
    s3.proxy.fault = lambda request: "lost"
    with pytest.raises(StorageError, match="can not be read.*AWS_ENDPOINT_URL"):
        Store(s3.url, patience=0.3).read("u")


def test_a_bucket_that_is_not_there_is_named(s3):
    store = Store("s3://no-such-bucket/store")
    with pytest.raises(BadInput, match="NoSuchBucket.*check the URL"):
        store.ready()
    with pytest.raises(StorageError, match="NoSuchBucket"):
        store.done()


def test_errors_show_no_secret_and_no_signature(s3):
    said = 'Generic S3 error: 3 retries - GET https://x.blob.net/a?sig=SECRET&se=1 failed (message: "reset") Debug source: K'
    assert "SECRET" not in bucket.explained(RuntimeError(said)) and "reset" in bucket.explained(RuntimeError(said))
    s3.proxy.fault = lambda request: "403"
    with pytest.raises(StorageError) as caught:
        Store(s3.url).read("a")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__, "a traceback would tell more than we say"


def test_a_folder_of_a_bucket_is_called_as_it_is_written(s3):
    """Services take each character of a name as it is: two folders are never one, and other tools find what is written."""
    names = ("run", "run#2", "run 2", "run%202", "run+2", "run%", "run=2", "läufe", "run%232", "~run", "run[2]", "a/run#2")
    for name in names:
        assert bucket.Bucket(f"{s3.url}/{name}").create("row", name.encode())
    whole = bucket.Bucket(s3.url)
    assert [whole.read(f"{name}/row") for name in names] == [name.encode() for name in names]
    assert [bucket.Bucket(f"{s3.url}/{name}").read("row") for name in names] == [name.encode() for name in names]


def test_a_web_server_can_only_be_read(s3):
    with pytest.raises(BadInput, match="can only be read"):
        Store(s3.proxy.url + "/store").ready()
    assert s3.proxy.heard == []


def test_without_credentials_the_environment_is_named(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    asked = RuntimeError(
        "Error performing PUT http://169.254.169.254/latest/api/token in 5s - HTTP error: error sending request"
    )
    assert bucket.explained(asked) == "the environment holds no credentials"
    assert "AWS_ACCESS_KEY_ID" in bucket._remedy(asked, "s3://bucket/run")


@pytest.mark.parametrize("scheme, name", [("s3", "AWS_"), ("gs", "GOOGLE_"), ("az", "AZURE_")])
def test_a_remedy_names_the_service_that_was_asked(scheme, name):
    for said in ("http://169.254.169.254/latest timed out", "connection refused"):
        remedy = bucket._remedy(RuntimeError(said), f"{scheme}://bucket/run/row")
        assert {prefix for prefix in ("AWS_", "GOOGLE_", "AZURE_") if prefix in remedy} == {name}
    assert not re.search("[A-Z]+_", bucket._remedy(RuntimeError("connection refused"), "https://host/shard.tar"))


def test_a_service_that_gives_parts_as_wholes_is_refused_at_once(monkeypatch):
    """As rclone's `serve s3`: three bytes, with 200 in place of 206."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Range"])
            self.send_response(200)
            for header in (("Content-Range", "bytes 2-4/10"), ("Content-Length", "3"), ("ETag", '"e"')):
                self.send_header(*header)
            self.send_header("Last-Modified", "Tue, 01 Dec 2026 02:18:42 GMT")
            self.end_headers()
            self.wfile.write(b"234")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        with pytest.raises(StorageError, match="use a service with range requests"):
            bucket.Bucket("s3://bucket/run").parts("shard.tar", [(2, 3)])
        server.shutdown()
    assert asked == ["bytes=2-4"]


class Large:
    """A file in pieces, of 20 MB; going through it ends at the piece `until`, if that is given."""

    size = 20_000_000

    def __init__(self, seed, until=None):
        self.data, self.until, self.gone_through = random.Random(seed).randbytes(self.size), until, 0

    def __iter__(self):
        self.gone_through += 1
        for number, begin in enumerate(range(0, self.size, bucket.PART)):
            if number == self.until:
                raise KeyError("nobody needs it any more")
            yield memoryview(self.data)[begin : begin + bucket.PART]


@pytest.mark.parametrize("fault", PASSING)
def test_a_large_file_is_written_and_read_in_parts_whatever_happens_on_the_way(s3, fault, monkeypatch):
    monkeypatch.setattr(bucket, "LARGE", 16_000_000)
    store, large = Store(s3.url), Large(1)
    s3.proxy.delay = 0.05
    s3.proxy.fault = first(3, fault)
    store.replace("checkpoints/u", large)
    parts = [said for request, said in s3.proxy.heard if request.method == "PUT" and "partNumber" in request.path]
    assert len(parts) >= 3 and fault in [said for _, said in s3.proxy.heard]
    s3.proxy.fault = first(2, fault)
    assert store.read("checkpoints/u") == large.data
    ranges = {request.headers["range"] for request, _ in s3.proxy.heard if "range" in request.headers}
    assert len(ranges) >= 3, "it was read in one request, which takes longer than one may"


def test_a_large_file_whose_write_ends_early_is_as_it_was_before(s3):
    store, before = Store(s3.url), Large(1)
    store.replace("checkpoints/u", before)
    with pytest.raises(KeyError):
        store.replace("checkpoints/u", Large(2, until=2))
    with pytest.raises(KeyError):
        store.replace("checkpoints/v", Large(2, until=2))
    assert store.read("checkpoints/u") == before.data and store.read("checkpoints/v") is None
