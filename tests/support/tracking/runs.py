"""Track the run on a finished store as its driver does, without attacking again."""

import shutil
from contextlib import contextmanager

from pipeline.tracking.follower import Follower


def units(store):
    """Return the names of the committed units of a store, in the order of their names."""
    return sorted(path.stem for path in store.glob("results/*.parquet"))


def followed(store, track, names, exit_code=0):
    """Track a run that commits these units; return what a person was told."""
    said = []
    follower = Follower(track, str(store), said.append)
    for name in names:
        follower.tell(unit=name, pace={"rate": 2.5, "seconds_left": 60.0})
    follower.ask_to_end(exit_code)
    follower.end()
    return said


@contextmanager
def half_done(store):
    """Take the later half of the units out of a store; yield the names of the earlier and of the later ones."""
    names = units(store)
    later = names[len(names) // 2 :]
    aside = store.with_name(f"{store.name}-aside")
    aside.mkdir()
    for name in later:
        shutil.move(store / f"results/{name}.parquet", aside)
    yield names[: len(names) // 2], later
    for name in later:
        shutil.move(aside / f"{name}.parquet", store / "results")


def two_runs(store, track):
    """Track a run that is stopped half way, and the one that resumes it; return what a person was told."""
    with half_done(store) as (earlier, later):
        said = followed(store, track, earlier, 143)
    return said + followed(store, track, later)
