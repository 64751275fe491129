"""One process of a node loads a model first; then all others do together, also where that one is killed."""

import signal
import subprocess
import sys
from pathlib import Path

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
    with first_on_node("a model"), first_on_node("a model"):
        pass
