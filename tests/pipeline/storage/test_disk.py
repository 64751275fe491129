"""Check writes that a disk refuses: one line with what and why, no partial file, no temporary file left."""

import errno
import os
import resource
import threading
import time
from contextlib import contextmanager

import pytest
from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.errors import BadInput, StorageError
from pipeline.execution import LocalExecutor
from pipeline.storage import disk
from pipeline.storage.disk import Disk
from tests.support import tiny


@contextmanager
def room_for(size):
    """Limit the size of files to `size` bytes: as on a full disk, a write stops in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def failing(monkeypatch, name, number):
    def call(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, call)


def test_a_write_that_stops_in_the_middle_leaves_nothing(tmp_path):
    files = Disk(tmp_path)
    files.replace("checkpoints/u", b"old")
    with room_for(1000):
        for write in (files.create, files.replace):
            with pytest.raises(
                StorageError, match="u.parquet can not be written: File too large; raise the limit .* run again"
            ):
                write("results/cell=a/u.parquet", b"x" * 5000)
        with pytest.raises(StorageError):
            files.replace("checkpoints/u", b"x" * 5000)
    assert everything(tmp_path) == ["checkpoints/u"] and files.read("checkpoints/u") == b"old"
    assert files.create("results/cell=a/u.parquet", b"x" * 5000)


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [
        ("fsync", errno.ENOSPC, "No space left on device; make room, and run again"),
        ("fsync", errno.EDQUOT, "quota"),
        ("link", errno.EPERM, "hard links"),
        ("link", errno.EROFS, "mount it writable"),
        ("fsync", errno.EIO, "repair the disk"),
    ],
)
def test_what_is_refused_is_said_with_a_remedy(tmp_path, monkeypatch, call, number, said):
    (tmp_path / "results").mkdir()
    (tmp_path / ".aside").mkdir()
    failing(monkeypatch, call, number)
    with pytest.raises(StorageError, match=said):
        Disk(tmp_path).create("results/u.parquet", b"data")
    assert everything(tmp_path) == []


def test_over_nfs_an_answer_that_was_lost_is_no_lost_race(tmp_path, monkeypatch):
    link = os.link

    def unanswered(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "the second try of the client")

    monkeypatch.setattr(os, "link", unanswered)
    assert Disk(tmp_path).create("u", b"mine")
    monkeypatch.setattr(os, "link", link)
    assert not Disk(tmp_path).create("u", b"other") and Disk(tmp_path).read("u") == b"mine"


def test_what_dead_writers_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    files = Disk(tmp_path)
    files.create("u", b"data")
    old, fresh = tmp_path / disk.TEMPORARY / "old", tmp_path / disk.TEMPORARY / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * disk.STALE_SECONDS,) * 2)
    files.sweep()
    assert fresh.exists() and not old.exists() and files.read("u") == b"data"


@pytest.mark.parametrize("jump", [-400 * 86_400, 86_400])
def test_a_clock_that_jumped_sweeps_nothing_that_is_being_written(tmp_path, monkeypatch, jump):
    """Another writer's unfinished file exists while a machine with a wrong clock begins its run."""
    files, link, clock = Disk(tmp_path), os.link, time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)

    def begun_elsewhere(aside, target):
        Disk(tmp_path).sweep()
        link(aside, target)

    monkeypatch.setattr(os, "link", begun_elsewhere)
    assert files.create("u", b"data") and files.read("u") == b"data"


def test_a_folder_that_can_not_be_is_refused_at_the_door(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="is a file, expected a folder"):
        Disk(tmp_path / "file/store").ready()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BadInput, match="can not be written to"):
        Disk(tmp_path / "store").ready()
    assert not (tmp_path / "store").exists()


def test_a_listing_tells_size_and_time(tmp_path):
    files = Disk(tmp_path)
    files.create("a/u", b"12345")
    os.utime(tmp_path / "a/u", (1000, 1000))
    (entry,) = files.entries("a")
    assert entry == files.entry("a/u") == ("a/u", 5, 1000.0)
    assert files.entry("a/none") is None and files.entry("a/u/none") is None


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({"workers": {"checkpoint_seconds": 1e-9}}, "checkpoints/.*safetensors"),
        ({"workers": {"checkpoint_seconds": 1e9}}, "adversarial/.*tar"),
        ({"workers": {"checkpoint_seconds": 1e9}, "save_adversarial": False}, "results/.*parquet"),
    ],
)
def test_a_full_disk_ends_the_work_with_the_reason_and_the_next_run_finishes_them(tmp_path, pattern, changes, stopped):
    cells = [{"model": "net", "defense": "none", "attack": "pgd"}]
    job = prepare(parse(tiny.campaign(pattern, cells=cells, **changes), "c.yaml"), str(tmp_path / "store"))
    job.write_down()
    before = everything(tmp_path / "store")
    with room_for(2000), pytest.raises(StorageError, match=f"{stopped} can not be written: File too large; "):
        list(LocalExecutor(attacking).execute(job, list(job.units())[:1], threading.Event()))
    assert everything(tmp_path / "store") == before and "campaign.yaml" in before
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    assert list(verify(job)) == []
