"""Processes of this machine as tests see them: whose they are, whether they live, and waiting for what they do."""

import time
from pathlib import Path

PATIENCE = 90.0


def family(pid):
    """The process and all its descendants that are alive, as {pid: command line}."""
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
    """The Ray actors among the descendants of a process."""
    return [p for p, line in family(pid).items() if line.startswith("ray::Actor")]


def alive(pid):
    """Whether a process is there, and more than its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids):
    """Whether none of these processes is alive."""
    return not any(map(alive, pids))


def until(condition, what, patience=PATIENCE):
    """Waits for a condition and gives what it gives."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {patience:.0f} s for {what}")
