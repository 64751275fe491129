"""Make what many tests read once a session, for all workers of pytest-xdist."""

import fcntl
import json
import os
import shutil


def folder(tmp_path_factory):
    """Return the folder that all workers of a session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _written(place):
    """Return when each file below `place` was written, {path: ns}."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(place.rglob("*")) if path.is_file()}


def once(place, make):
    """Return the folder `place`, filled by `make(place)` by the first who asks; others wait for it.

    If `make` fails, the next one who asks tries again with an empty folder. Raises AssertionError if a file was changed since.
    """
    ready = place.with_name(f"{place.name}.ready")
    with open(place.with_name(f"{place.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            ready.write_text(json.dumps(_written(place)))
        assert _written(place) == json.loads(ready.read_text()), f"a test wrote to {place}, which others read: use a copy"
    return place
