"""One process of a node loads a model first; then all others do together, also where that one is killed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.models.node_lock import first_on_node

HOLD = """
import sys
from pipeline.models.node_lock import first_on_node
print("begun", flush=True)
with first_on_node("a model"):
    print("inside", flush=True)
    sys.stdin.read(1)
"""


def process():
    started = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "begun\n"
    return started


def inside(started):
    return started.stdout.readline() == "inside\n"


def test_the_first_goes_alone_and_the_others_then_go_together(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = process()
    assert inside(first)
    others = [process() for _ in range(2)]
    (lock,) = tmp_path.glob("barrage-*.lock")
    waiting = {other.pid for other in others}
    blocked = set()
    while blocked != waiting:  # the kernel lists who waits for a lock
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
        blocked = {int(line[5]) for line in lines} & waiting
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert all(inside(other) for other in others), "each waits for the other"
    for other in others:
        other.communicate("x")
    assert lock.exists()


def test_where_no_lock_can_be_made_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    entered = 0
    with first_on_node("a model"), first_on_node("a model"):
        entered += 1
    assert entered and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_nothing_waits_and_no_handle_is_left(tmp_path, monkeypatch, number):
    def refused(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", refused)
    before, entered = len(os.listdir("/proc/self/fd")), 0
    with first_on_node("a model"), first_on_node("a model"):
        entered += 1
    assert entered and len(os.listdir("/proc/self/fd")) == before


def test_what_the_loading_itself_raises_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match="the weights"), first_on_node("a model"):
        raise OSError("the weights are not there")
