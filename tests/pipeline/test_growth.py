"""Twice as many shards cost every stage of a campaign at most twice as much: in calls of our code, files, bytes; not in time.

The times and the memory of large campaigns are in docs/long-and-large.md.
"""

import importlib
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
import yaml

from pipeline.data.tars.writing import packed
from pipeline.scoring.rules import RULES
from pipeline.storage.disk import Disk
from pipeline.store.layout import Store
from pipeline.view.rows import queries
from pipeline.view.watched import Watched
from tests.support import tiny
from tests.support.source.pages import ROOT

SHARDS = (3, 6, 12)
IMAGES = 2
"""Images of a shard, which are one unit of each cell."""

CELLS = ("net-none-noop", "net-none-fgsm")
MORE = 1.25
"""The most that the second doubling may add, of twice what the first added: 1 where all is proportional, 2 if it is square."""

OURS = tuple(str(ROOT / package) for package in ("bart", "pipeline", "barrage_plugins"))


@contextmanager
def counted():
    """Count calls of our functions, requests to files, entries of listings, bytes read and written."""
    found = Counter()

    def called(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found["calls"] += 1

    def told(name, inner):
        def method(self, *arguments, **options):
            answer = inner(self, *arguments, **options)
            found["requests"] += 1
            if name in ("create", "replace"):
                data = arguments[1]
                found["bytes"] += len(data) if isinstance(data, bytes) else data.size
            if name == "read":
                found["bytes"] += len(answer or b"")
            return counting(answer) if name in ("names", "entries") else answer

        return method

    def counting(entries):
        for entry in entries:
            found["listed"] += 1
            yield entry

    names = ("entry", "read", "open", "parts", "create", "replace", "remove", "folders", "names", "entries")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(Disk, name, told(name, getattr(Disk, name)))
        before = sys.getprofile()
        sys.setprofile(called)
        try:
            yield found
        finally:
            sys.setprofile(before)


@pytest.fixture
def campaign(tmp_path):
    """Return a function that writes a campaign on so many shards, and gives its file."""

    def written(shards):
        folder = tmp_path / f"shards{shards}"
        folder.mkdir()
        for number in range(shards):
            samples = [
                file
                for image in range(IMAGES)
                for file in ((f"{number}-{image}.png", tiny.picture(image)), (f"{number}-{image}.cls", str(image).encode()))
            ]
            (folder / f"photos-{number:06d}.tar").write_bytes(packed(samples))
        content = tiny.campaign(f"{folder}/photos-{{000000..{shards - 1:06d}}}.tar", unit_images=IMAGES)
        content["attacks"] = {"noop": {"kind": "noise", "eps": 1e-6, "steps": 1}, "fgsm": {"kind": "fgsm", "eps": "8/255"}}
        content["cells"] = [{"model": "net", "defense": "none", "attack": ["noop", "fgsm"]}]
        content["evaluation_draws"] = 1
        path = tmp_path / f"{shards}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return written


def viewed(store):
    watched = Watched("0", str(store), list(RULES))
    watched.refresh()
    assert watched.content["problem"] is None
    answer = watched.database.answer(queries.parsed({}, list(RULES)))
    assert answer


@pytest.fixture
def costs(campaign, barrage, tmp_path):
    """Return a function: what each stage costs at each number of shards, {stage: {cost: [at 3, at 6, at 12]}}."""

    def measured(*stages):
        found, files = {}, {shards: campaign(shards) for shards in SHARDS}
        for turn, shards in enumerate((SHARDS[0], *SHARDS)):  # the first turn is not counted: modules are imported, values kept
            path, store = files[shards], tmp_path / f"store{turn}"
            work = {
                "plan": lambda path=path: barrage("plan", path, "--no-calibrate", "--rate", 100),
                "run": lambda path=path, store=store: barrage("run", path, "--store", store, "--here"),
                "again": lambda path=path, store=store: barrage("run", path, "--store", store, "--here"),
                "status": lambda store=store: barrage("status", store),
                "table": lambda store=store: barrage("table", store),
                "report": lambda store=store: barrage("report", store, "-o", tmp_path / "report.html"),
                "verify": lambda store=store: barrage("verify", store, "--sample", 2),
                "compare": lambda store=store: barrage("compare", store, "--cell", CELLS[0], "--cell", CELLS[1]),
                "seal": lambda store=store: barrage("seal", store),
                "view": lambda store=store: viewed(store),
            }
            for stage in stages or work:
                with counted() as cost:
                    answer = work[stage]()
                assert answer is None or answer[0] == 0, answer
                for name in ("calls", "requests", "listed", "bytes"):
                    found.setdefault(stage, {}).setdefault(name, []).append(cost[name])
        return {stage: {name: values[1:] for name, values in costs.items()} for stage, costs in found.items()}

    return measured


def squared(costs):
    """Return the stages and costs whose second doubling adds more than twice what the first added."""
    return {
        (stage, name): values
        for stage, found in costs.items()
        for name, values in found.items()
        if values[2] - values[1] > MORE * 2 * max(values[1] - values[0], values[0] / 20)
    }


@pytest.mark.slow
def test_no_stage_costs_more_than_in_proportion(costs):
    found = costs()
    assert found["run"]["requests"][2] > 2 * SHARDS[2] * len(CELLS), "nothing was counted"
    assert not squared(found)


def test_a_listing_for_each_unit_would_be_seen(costs, monkeypatch):
    """Break it: every event of a run lists all that is done."""
    runs = importlib.import_module("pipeline.campaigns.run")  # the package has a function of this name
    stores, before, work = [], runs._pass_on, runs._work

    def listing(event, said, reporter):
        before(event, said, reporter)
        Store(stores[-1]).done()

    monkeypatch.setattr(runs, "_pass_on", listing)

    def working(job, *more):
        stores.append(job.store)
        work(job, *more)

    monkeypatch.setattr(runs, "_work", working)
    assert ("run", "listed") in squared(costs("run"))
