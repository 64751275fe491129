"""Folders of Ray: what dead runs left goes at the next start, what others use stays."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.execution.ray import scratch
from pipeline.execution.ray.scratch import Scratch

HOLD = """
import sys, pathlib, time
from pipeline.execution.ray.scratch import Scratch
made = Scratch.made(pathlib.Path(sys.argv[1]))
(made.folder / "session" / "logs").mkdir(parents=True)
(made.folder / "session" / "logs" / "raylet.out").write_text("x" * 1000)
print(made.folder.name, flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a function that starts a process with a folder of its own, and gives it and the folder's name."""
    begun = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_killed_runs_leave_what_one_run_leaves_however_many_they_are(holder, tmp_path):
    sizes = []
    for _ in range(3):
        process, name = holder()
        sizes.append(names(tmp_path))
        assert sizes[-1] == {name, f"{name}.barrage"}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len({len(found) for found in sizes}) == 1, "it grows with every run"


def test_a_run_that_lives_keeps_its_folder_though_it_hangs(holder, tmp_path):
    process, name = holder()
    process.send_signal(signal.SIGSTOP)
    mine = Scratch.made(tmp_path)
    assert name in names(tmp_path) and mine.folder.name != name
    mine.remove()
    assert names(tmp_path) == {name, f"{name}.barrage"}


def test_what_others_keep_there_stays(tmp_path, monkeypatch):
    """Ray's own sessions, a lock of another user, and one that leads elsewhere."""
    (tmp_path / "session_2026-01-01_00-00-00_000000_17" / "logs").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "ab12").symlink_to(elsewhere)
    (tmp_path / "ab12.barrage").touch()
    (tmp_path / "cd34").mkdir()
    (tmp_path / "cd34.barrage").symlink_to(elsewhere / "file")
    before = names(tmp_path)
    Scratch.made(tmp_path).remove()
    assert names(tmp_path) == before
    (tmp_path / "ef56").mkdir()
    (tmp_path / "ef56.barrage").touch()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert Scratch.made(tmp_path) is None, "a lock that this user does not own"
    assert "ef56" in names(tmp_path)


def test_without_locks_there_is_no_folder_and_no_trace(tmp_path, monkeypatch):
    def refused(handle, how):
        raise OSError("no locks")

    monkeypatch.setattr(scratch.fcntl, "flock", refused)
    monkeypatch.setattr(scratch, "TRIES", 3)
    assert Scratch.made(tmp_path) is None and not names(tmp_path)


def test_a_name_that_is_taken_is_not_used(tmp_path, monkeypatch):
    given = iter(["aaaa", "bbbb"])
    monkeypatch.setattr(scratch.secrets, "token_hex", lambda digits: next(given))
    (tmp_path / "aaaa").mkdir()
    made = Scratch.made(tmp_path)
    assert made.folder.name == "bbbb" and names(tmp_path) == {"aaaa", "bbbb", "bbbb.barrage"}
    made.remove()
