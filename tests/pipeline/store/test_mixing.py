"""Rows and checkpoints of several commits and environments: one line that names them, and how many of each."""

import json
import re
import threading
import warnings

import pytest
import torch

from pipeline import provenance
from pipeline.campaigns.job import opened
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.errors import Drained
from pipeline.execution import LocalExecutor
from pipeline.store import mixing, rows, schema
from pipeline.store.formats import StoreWarning
from pipeline.store.layout import Store
from pipeline.store.mixing import Origin
from tests.support.reporters import KeptLines

CELL = "net-bart2-pgd"
A, B = "a" * 40, "b" * 40 + "+"


def versions(torch_version):
    return json.dumps({"python": "3.11.7", "torch": torch_version, "numpy": "2.0"})


def remade(folder, unit=slice(None), **columns):
    """Give the rows of some unit files other values in some columns."""
    paths = sorted(folder.glob("results/*.parquet"))[unit]
    for path in paths:
        found = [row | columns for row in rows.table(path.read_bytes(), str(path)).to_pylist()]
        path.write_bytes(schema.encode(found, {}))
    return paths


def lines(origins):
    return list(mixing.mixed(origins))


def test_rows_of_one_origin_need_no_word():
    assert lines({}) == lines({Origin(A, versions("2.4"), "cpu"): 7}) == []
    assert lines({Origin(A, versions("2.4"), "cpu"): 7, Origin("", "", ""): 3}) == [], "unknown is not another"


def test_commits_libraries_and_devices_are_named_with_their_rows():
    found = {
        Origin(A, versions("2.4"), "Tesla V100"): 1200,
        Origin(B, versions("2.4"), "Tesla V100"): 16,
        Origin(B, versions("2.5"), "NVIDIA H100"): 4,
    }
    commits, environments = lines(found)
    assert commits == "rows of 2 commits are mixed: aaaaaaaaaaaa (1,200 rows), bbbbbbbbbbbb+ (20 rows)"
    assert environments == (
        "rows of different environments are mixed: torch 2.4 (1,216 rows), 2.5 (4 rows); device Tesla V100 (1,216 rows), "
        "NVIDIA H100 (4 rows)"
    )


def said(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in found if issubclass(one.category, StoreWarning)]


def test_tables_and_verify_count_every_row_however_it_is_stored(store, folder):
    from pipeline.store.sealed import seal

    remade(folder, slice(0, 16), commit=A, versions=versions("2.4"), device="cpu x86_64")
    reading = lambda: list(mixing.batches(store.url, ["status"]))  # noqa: E731
    check = lambda: list(verify(opened(store.url)))  # noqa: E731
    assert said(reading) == said(check) == []
    remade(folder, slice(2, 7), commit=B, device="NVIDIA H100")
    wanted = [
        "rows of 2 commits are mixed: aaaaaaaaaaaa (11 rows), bbbbbbbbbbbb+ (5 rows)",
        "rows of different environments are mixed: device cpu x86_64 (11 rows), NVIDIA H100 (5 rows)",
    ]
    assert said(reading) == said(check) == wanted
    seal(store, CELL)
    assert said(reading) == wanted


@pytest.mark.parametrize("command", ["table", "verify", "report"])
def test_commands_warn_in_one_line_each_and_go_on(store, folder, tmp_path, command, barrage):
    remade(folder, slice(0, 16), commit=A)
    remade(folder, slice(0, 3), commit=B)
    more = ["-o", tmp_path / "page.html"] if command == "report" else ["--sample", 0] if command == "verify" else []
    code, _, err = barrage(command, folder, *more)
    found = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert code == 0 and found == ["warning: rows of 2 commits are mixed: aaaaaaaaaaaa (13 rows), bbbbbbbbbbbb+ (3 rows)"]
    if command == "report":
        assert "13 rows" in (tmp_path / "page.html").read_text()


def test_a_run_says_what_it_will_mix_with_before_it_begins(store, folder):
    job = opened(store.url)
    gone = sorted(folder.glob("results/*.parquet"))[0]
    gone.unlink()
    reporter = KeptLines()
    remade(folder, slice(0, 15), commit=A, versions=json.dumps(json.loads(provenance.versions()) | {"torch": "1.0"}))
    assert run(job, LocalExecutor(attacking), reporter).exit_code == 0
    commits, environment = reporter.said
    here = re.sub(r"^(.{12})[0-9a-f]{28}", r"\1", provenance.commit())
    assert commits == f"warning: the store has rows of commit aaaaaaaaaaaa, this is commit {here}: they will be mixed"
    now = json.loads(provenance.versions())["torch"]
    assert environment == f"warning: the store has rows made with torch 1.0, this is {now}: they will be mixed"
    again = KeptLines()
    run(job, LocalExecutor(attacking), again)
    assert again.said == [], "nothing is left to do"


def test_a_run_names_the_commit_of_checkpoints_that_it_goes_on_from(store, folder, monkeypatch):
    job = opened(store.url)
    unit = next(iter(job.units()))
    store.remove(store.results(unit))
    monkeypatch.setattr(provenance, "commit", lambda: A)
    worker = Worker(job, torch.device("cpu"), threading.Event())
    worker.drain.set()
    with pytest.raises(Drained):
        list(worker.attack(unit))
    monkeypatch.undo()
    found = list(mixing.before_run(store, provenance.commit(), provenance.versions()))
    assert len(found) == 1 and found[0].startswith("this run goes on from checkpoints of commit aaaaaaaaaaaa, this is commit ")


def test_before_a_run_only_a_sample_is_read(store, folder, monkeypatch):
    monkeypatch.setattr(mixing, "SAMPLE", 4)
    opened_files, real = [], Store.open

    def counted(self, name):
        opened_files.append(name)
        return real(self, name)

    monkeypatch.setattr(Store, "open", counted)
    assert list(mixing.before_run(store, A, provenance.versions()))
    assert len(opened_files) == 4 and len({name.partition("--")[0] for name in opened_files}) == 2
    for path in folder.glob("results/*.parquet"):
        path.write_bytes(b"")
    assert list(mixing.before_run(store, A, provenance.versions())) == [], "damage is named when rows are read"
