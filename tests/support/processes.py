"""Find the processes of this machine that a test started, ask whether they are alive, and wait for what they do."""

import time
from pathlib import Path

PATIENCE = 1200.0
"""The most seconds that a test waits for one thing, on a busy machine."""


def family(pid):
    """Return the process and all its descendants that are alive, {pid: command line}."""
    parents, lines = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z":
                continue
            parents[int(entry.name)] = int(fields[1])
            lines[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except (OSError, IndexError):
            continue
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return {p: lines[p] for p in found if p in lines}


def actors(pid):
    """Return the process ids of the Ray actors among the descendants of a process."""
    return [p for p, line in family(pid).items() if line.startswith("ray::Actor")]


def alive(pid):
    """Return whether a process runs; one that has ended and awaits its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids):
    """Return whether none of these processes is alive."""
    return not any(map(alive, pids))


def until(condition, what, patience=PATIENCE, pause=0.05):
    """Wait until `condition()` is true and return its value; ask every `pause` seconds, for `patience` seconds at most.

    Raises AssertionError, which names `what` was awaited, after that.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError(f"waited {patience:.0f} s for {what}")
