"""Stores that release 0.1 compacted: read, resumed, sealed and exported, and never written in that way again."""

import shutil
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import attacking
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.status.summary import Reader
from pipeline.store import committed
from pipeline.store.export import export
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support.campaigns import in_order
from tests.support.stores import release01

CELL = "net-bart2-pgd"


def right(store, before):
    job = opened(store.url)
    assert in_order(store.url) == before and job.todo() == [] and len(store.done()) == 16
    status = Reader(job.store).status()
    assert status.complete and status.warnings == [] and sum(cell.images_read for cell in status.cells.values()) == 16
    assert list(verify(job, sample=4)) == []


@pytest.mark.parametrize("keep", [0, 3, 8], ids=["ended", "killed half way", "killed before the first removal"])
@pytest.mark.parametrize("lists", [True, False])
def test_a_compacted_cell_is_read_with_every_row_once(store, folder, before, keep, lists):
    release01.aged(folder)
    release01.compacted(folder, CELL, keep)
    if not lists:
        shutil.rmtree(folder / "compacted")
    right(store, before)
    assert committed.files(store)[1][CELL] == [f"results/cell={CELL}/compacted-000000.parquet"]


def test_units_that_come_after_are_done_as_ever_and_count_once(store, folder, before):
    paths = sorted(folder.glob(f"results/{CELL}--*"))
    later = {path: path.read_bytes() for path in paths[5:]}
    for path in later:
        path.unlink()
    release01.compacted(folder, CELL)
    job = opened(store.url)
    assert [unit.name for unit in job.todo()] and len(job.todo()) == 3
    events = [e for e in LocalExecutor(attacking).execute(job, job.todo(), threading.Event()) if isinstance(e, Finished)]
    assert len(events) == 3 and not any(event.lost for event in events)
    for path, data in later.items():
        path.write_bytes(data)
    right(store, before)


def test_a_list_without_rows_means_nothing(store, folder, before):
    file = release01.compacted(folder, CELL, keep=8)
    file.unlink()
    right(store, before)


def test_it_can_be_sealed_and_exported(store, folder, before, tmp_path):
    release01.compacted(folder, CELL, keep=2)
    found = seal(store, CELL)
    assert (found.files, found.rows) == (1, 8) and committed.files(store)[1][CELL] == [found.name]
    right(store, before)
    assert export(store.url, tmp_path / "rows.parquet") == 16


def test_a_damaged_compacted_file_is_named(store, folder):
    file = release01.compacted(folder, CELL)
    file.write_bytes(file.read_bytes()[:-20])
    for reading in (
        store.done,
        lambda: results(store.url),
        lambda: Reader(store.url).status(),
        lambda: list(verify(opened(store.url))),
    ):
        with pytest.raises(BadInput, match="is no whole Parquet file .*: restore it, as it is the only copy of its rows"):
            reading()


def test_a_unit_is_not_called_compacted():
    from pipeline.store.compacted import is_compacted

    assert is_compacted("compacted-000012")
    assert not any(
        map(is_compacted, ("compacted-12", "compacted-000012-", "compacted--s--000000-000001", "a-compacted-000012"))
    )


def test_a_store_that_release_01_made_and_compacted_is_read():
    """Not one of a helper: four cells of CIFAR-10 that the release ran."""
    store = Store(Path(__file__).with_name("release01_compacted"))
    compacted = sorted(Path(store.url).glob("results/*/compacted-*.parquet"))
    assert len(compacted) == 4 and len(results(store.url)) == 4 * 80
    for path in compacted:
        units = set(pq.read_table(path, columns=["unit"], partitioning=None)["unit"].to_pylist())
        assert units <= store.done() and {store.merged()[unit] for unit in units} == {str(path.relative_to(store.url))}
