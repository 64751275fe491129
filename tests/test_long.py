"""The fits and the record of a long campaign, on growth that is known."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.long import record as records
from benchmarks.long.growth import Recorded, fit, fits
from tests.support.processes import until
from tests.support.source.pages import ROOT


def samples(slope, levels, noise=0.0, seed=0, hours=3.0):
    """Values of processes that come one after the other: each has a level, noise that lasts for minutes, and all one slope."""
    random, parts = np.random.default_rng(seed), []
    for pid, level in enumerate(levels):
        hour = hours * (pid + np.arange(0, 1, 10 / 3600 / hours * len(levels))) / len(levels)
        drift = np.zeros(len(hour))
        for i in range(1, len(hour)):  # a correlation of 0.9 between neighbours: half is gone after a minute
            drift[i] = 0.9 * drift[i - 1] + random.normal()
        parts.append(pd.DataFrame({"hour": hour, "pid": pid, "value": level + slope * (hour - hour[0]) + noise * drift}))
    return pd.concat(parts, ignore_index=True)


def test_the_slope_of_processes_is_theirs_and_not_that_of_their_levels():
    """Levels rise from process to process, as those of workers with other work do; none of them grows."""
    found = fit("", "", samples(0, [100, 200, 300]), "value", ["pid"])
    assert found.slope == pytest.approx(0, abs=1e-9) and found.verdict == "no growth" and found.groups == 3
    assert fit("", "", samples(7, [300, 200, 100]), "value", ["pid"]).slope == pytest.approx(7)
    assert fit("", "", samples(0, [100, 200, 300]), "value", []).slope > 60, "without groups the levels are growth"


def test_the_interval_covers_a_slope_under_noise_that_lasts():
    """Of 200 records of three hours, 95 % should; samples taken as independent would cover far less."""
    found = [fit("", "", samples(5, [100, 120], 1.0, seed), "value", ["pid"]) for seed in range(200)]
    covered = np.mean([one.low <= 5 <= one.high for one in found])
    assert 0.88 <= covered <= 0.99
    true, told = np.std([one.slope for one in found]), np.mean([one.high - one.low for one in found]) / 2 / 1.96
    assert 0.75 < told / true < 1.3
    assert np.mean([one.verdict == "grows" for one in found]) > 0.95


@pytest.fixture
def folder(tmp_path):
    """A record in two pieces, a day apart: a worker that grows by 36 MB an hour, and a folder that grows by a session a run."""
    at = np.concatenate([np.arange(0, 3600, 10.0), 90_000 + np.arange(0, 3600, 10.0)])
    worked = np.where(at > 80_000, at - 90_000 + 3600, at)
    lines = [f"{t},worker,{7 + (t > 80_000)},1,{int(1e9 + 1e4 * w)},0,40,20" for t, w in zip(at, worked, strict=True)]
    (tmp_path / "processes.csv").write_text("\n".join([records.PROCESSES, *lines]) + "\n")
    lines = [f"{t},sessions of Ray,{int(1e5 * (1 + w // 600))},{int(1 + w // 600)}" for t, w in zip(at, worked, strict=True)]
    (tmp_path / "folders.csv").write_text("\n".join([records.FOLDERS, *lines]) + "\n")
    (tmp_path / "strikes.csv").write_text(f"{records.STRIKES}\n5.0,0,kill -9 of an actor,\n")
    return tmp_path


def test_a_record_goes_on_where_its_last_piece_stopped(folder):
    read = Recorded.read(folder)
    assert read.hours == pytest.approx(2, abs=0.01), "the day between the pieces is no part of it"
    found = {one.name: one for one in fits(read)}
    assert found["worker: resident"].slope == pytest.approx(36, rel=0.01) and found["worker: resident"].groups == 2
    assert found["worker: handles"].verdict == "no growth"
    assert found["sessions of Ray: folders"].slope == pytest.approx(6, rel=0.05)
    assert found["sessions of Ray: folders"].verdict == "grows"
    assert found["processes"].verdict == "no growth"


def test_what_is_recorded_is_what_a_process_holds(tmp_path):
    """A child with 50 files, 5 threads and 200 MB; a folder of known files."""
    code = "import threading; a = bytearray(200_000_000); files = [open('/dev/null') for _ in range(50)]; " + (
        "[threading.Thread(target=input).start() for _ in range(1)]; "
        "[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(3)]; print(1, flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        start, resident, shared, handles, threads = until(lambda: records.process(child.pid), "the child")
        assert 200e6 < resident < 260e6 and shared == 0 and handles == 53 and threads == 5 and start > 0
    finally:
        child.kill()
        child.communicate()
    assert records.process(child.pid) is None
    (tmp_path / "ray/1a2b/session_2026/logs").mkdir(parents=True)
    (tmp_path / "ray/1a2b/session_2026/logs/one").write_bytes(bytes(10))
    (tmp_path / "ray/1a2b/session_2026/two").write_bytes(bytes(5))
    (tmp_path / "store/results").mkdir(parents=True)
    (tmp_path / "store/results/unit.parquet").write_bytes(bytes(100))
    (tmp_path / "store/campaign.yaml").write_bytes(bytes(7))
    (tmp_path / "tmp").mkdir()
    assert records.folders(tmp_path / "store", tmp_path / "ray", tmp_path / "tmp") == {
        "rows": (100, 1),
        "store without rows": (7, 1),
        "logs of Ray": (10, 1),
        "sessions of Ray": (15, 1),
        "temporary files": (0, 0),
    }


def test_samples_and_strikes_are_added_to_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "SECONDS", 0.01)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for piece in range(2):
            with records.Record(tmp_path, lambda: {"rows": (1, 2)}) as record:
                size = record.path("processes").stat().st_size
                until(lambda record=record, size=size: record.path("processes").stat().st_size > size, "a sample")
                record.strike("kill -9 of an actor", -9 if piece else None)
    finally:
        child.kill()
        child.communicate()
    read = Recorded.read(tmp_path)
    assert child.pid in set(read.processes["pid"]) and os.getpid() not in set(read.processes["pid"])
    assert list(read.strikes["number"]) == [0, 1] and read.strikes["code"].isna().tolist() == [True, False]
    assert set(read.folders["folder"]) == {"rows"}


def test_the_page_quotes_what_was_fitted():
    fitted = (ROOT / "docs" / "results" / "long.txt").read_text().splitlines()
    block = (ROOT / "docs" / "long-and-large.md").read_text().split("```text\n")[1].split("```")[0].splitlines()
    assert len(block) > 10 and not [line for line in block if line not in fitted], "quote it again"
