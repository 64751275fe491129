"""Compaction: killed between any two writes, raced, met by a late worker: every reader of ours sees each row once."""

import shutil
import threading
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verify import verify
from pipeline.campaigns.worker import Finished, Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.scoring.summaries import lines
from pipeline.status.summary import Reader
from pipeline.store import compaction as module
from pipeline.store import schema
from pipeline.store.compaction import Compacted, compact
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny

CELL = "net-bart2-pgd"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with eight units of one image in each of two cells, and what was read of it."""
    folder = tmp_path_factory.mktemp("finished")
    tiny.packed(folder)
    content = tiny.campaign(str(folder / "shards" / "photos-{000000..000001}.tar"), unit_images=1)
    content["attacks"]["pgd"]["steps"] = 1
    job = prepare(parse(content, "c.yaml"), str(folder / "store"))
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    return folder / "store"


@pytest.fixture
def store(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "store")
    return Store(tmp_path / "store")


def seen(store):
    """All rows, sorted."""
    return sorted(results(store.url).to_pylist(), key=lambda row: (row["cell"], row["image_key"]))


@pytest.fixture(scope="module")
def before(finished):
    return seen(Store(finished))


def right(store, before):
    """Whether rows, tables, todo, status and verify are those of the store before it was compacted."""
    job = opened(store.url)
    assert seen(store) == before
    assert job.todo() == [] and len(store.done()) == 16
    assert Reader(job.store).look().complete
    assert [line.images for line in lines(results(store.url))] == [8, 8]
    assert [fault for fault in verify(job) if "a glob reads them twice" not in fault] == []


def all_of(store, cell=CELL):
    return list(compact(store, cell))


def test_a_compacted_cell_is_few_files_with_every_row(store, before, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 3)
    monkeypatch.setattr(module, "GROUP", 2)
    found = all_of(store)
    assert [(f.units, f.rows) for f in found] == [(3, 3), (3, 3), (2, 2)]
    assert sorted(p.name for p in (Path(store.url) / f"results/cell={CELL}").iterdir()) == [
        f"compacted-{i:06d}.parquet" for i in range(3)
    ]
    right(store, before)
    assert list(verify(opened(store.url))) == []
    assert all_of(store) == []
    assert len(list((Path(store.url) / "results/cell=net-none-pgd").iterdir())) == 8, "the other cell is left alone"


def test_other_programs_read_each_row_once_from_the_folder(store, before):
    all_of(store)
    keys = sorted((row["cell"], row["image_key"]) for row in before)
    glob = f"{store.url}/results/*/*.parquet"
    counted = duckdb.sql(f"select cell, image_key, adv_correct from read_parquet('{glob}', hive_partitioning=false)").fetchall()
    assert sorted(row[:2] for row in counted) == keys
    frame = pandas.read_parquet(Path(store.url) / "results")
    assert sorted(zip(frame.cell.astype(str), frame.image_key, strict=True)) == keys
    assert sorted(polars.read_parquet(glob, hive_partitioning=False).select("cell", "image_key").rows()) == keys
    assert sum(frame.adv_correct) == sum(row["adv_correct"] for row in before) == sum(row[2] for row in counted)


def test_the_merged_file_is_zstd_sorted_and_knows_its_cell(store):
    (found,) = all_of(store)
    file = pq.ParquetFile(Path(store.url) / found.file)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert b'"name": "net-bart2-pgd"' in file.schema_arrow.metadata[schema.KEY]
    units = file.read(["unit"])["unit"].to_pylist()
    assert units == sorted(units) and found.bytes == (Path(store.url) / found.file).stat().st_size


class Killed(BaseException):
    """What kill -9 is to the code: no handler of ours sees it."""


def dying(store, after):
    """The store, whose process is killed before its write number `after` (from 0)."""
    left = [after]

    def killing(write):
        def call(*arguments):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return write(*arguments)

        return call

    store.create, store.remove = killing(store.create), killing(store.remove)
    return store


@pytest.mark.parametrize("after", range(11))
def test_killed_between_any_two_writes_each_row_is_there_once_and_the_next_one_ends_it(store, before, after):
    """A list, the rows, eight removals: after each of them the process is gone."""
    if after < 10:
        with pytest.raises(Killed):
            all_of(dying(Store(store.url), after))
    else:
        all_of(dying(Store(store.url), after))
    right(store, before)
    loose = len(store.own(CELL))
    assert loose == 8 - max(0, after - 2)
    faults = list(verify(opened(store.url)))
    assert (len(faults) == 1 and f"{loose} files" in faults[0] and "barrage compact" in faults[0]) == (2 <= after < 10)
    all_of(store)
    right(store, before)
    assert list(verify(opened(store.url))) == [] and store.own(CELL) == {}


@pytest.mark.parametrize("after", [1, 2, 5])
def test_units_committed_after_a_killed_compaction_go_into_the_next_file(store, before, after):
    own = store.own(CELL)
    late = {name: store.read(own[name]) for name in sorted(own)[:3]}
    for name in late:
        store.remove(own[name])
    with pytest.raises(Killed):
        all_of(dying(Store(store.url), after))
    for name, data in late.items():
        store.create(own[name], data)
    assert [f.units for f in all_of(store) if isinstance(f, Compacted)] == [3]
    right(store, before)
    assert [len(units) for units in store.lists(CELL).values()] == [5, 3]


def test_a_store_compacted_half_way_is_resumed_and_nothing_is_done_again(store, before):
    own = store.own(CELL)
    for name in sorted(own)[5:]:
        store.remove(own[name])
    all_of(store)
    job = opened(store.url)
    assert len(job.todo()) == 3
    events = [e for e in LocalExecutor(attacking).execute(job, job.todo(), threading.Event()) if isinstance(e, Finished)]
    assert len(events) == 3 and not any(e.lost for e in events)
    assert [{k: v for k, v in row.items() if k not in schema.MEASURED} for row in seen(store)] == [
        {k: v for k, v in row.items() if k not in schema.MEASURED} for row in before
    ]


def test_a_worker_that_comes_late_takes_its_rows_back(store, before):
    job = opened(store.url)
    unit = next(unit for unit in job.units() if unit.cell == CELL)
    file = store.own(CELL)[unit.name]
    rival = store.read(file)
    store.remove(file)
    attempt = Worker(job, torch.device("cpu"), threading.Event()).attack(unit)
    next(attempt)
    store.create(file, rival)
    all_of(store)
    assert list(attempt)[-1].lost
    assert store.own(CELL) == {}
    right(store, before)


def test_a_commit_is_kept_while_the_list_that_names_it_has_no_rows(store, before):
    """A compaction listed a unit's rows at the very moment they came, and died: the worker must not take them for doubled."""
    with pytest.raises(Killed):
        all_of(dying(Store(store.url), 1))
    unit = next(unit for unit in opened(store.url).units() if unit.cell == CELL)
    assert unit.name in next(iter(store.lists(CELL).values()))
    assert not module.late(store, unit)
    all_of(store)
    assert module.late(store, unit)


def test_two_compactions_at_once_put_no_unit_into_two_files(store, before, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)
    barrier, errors = threading.Barrier(4), []

    def work():
        barrier.wait()
        try:
            all_of(Store(store.url))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    listed = [unit for units in store.lists(CELL).values() for unit in units]
    assert len(listed) == len(set(listed))
    right(store, before)


def test_rivals_in_lockstep(store, before):
    """Both saw the same units; the second writes its list later, and finds the number taken."""
    first, second = Store(store.url), Store(store.url)
    create = second.create

    def slower(name, data):
        if name.endswith(".txt"):
            second.create = create
            assert len(all_of(first)) == 1
        return create(name, data)

    second.create = slower
    assert all_of(second) == []
    assert len(store.lists(CELL)) == 1
    right(store, before)


def test_readers_go_on_while_files_move(store, before):
    stop, errors = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert seen(store) == before and len(store.done()) == 16
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for cell in (CELL, "net-none-pgd"):
        all_of(Store(store.url), cell)
    stop.set()
    thread.join()
    assert errors == []


def test_files_that_are_no_rows_of_their_unit_are_left_alone_and_named(store):
    own = sorted(store.own(CELL).items())
    (Path(store.url) / own[0][1]).write_bytes(b"PAR1 nonsense")
    shutil.copy(Path(store.url) / own[2][1], Path(store.url) / own[1][1])
    (Path(store.url) / own[3][1]).write_bytes(schema.encode([], {}))
    found = all_of(store)
    said = [text for text in found if isinstance(text, str)]
    assert [text.partition(":")[0] for text in said] == [name for name, _ in own[:2]] + [own[3][0]]
    assert [f.units for f in found if isinstance(f, Compacted)] == [5]
    assert sorted(store.own(CELL)) == sorted([own[0][0], own[1][0], own[3][0]])


def test_rows_whose_list_is_lost_stop_everything(store):
    all_of(store)
    shutil.rmtree(Path(store.url) / "compacted")
    with pytest.raises(BadInput, match="restore compacted/cell=net-bart2-pgd/000000.txt"):
        store.done()


def test_a_begun_compaction_whose_units_are_gone_says_so(store):
    with pytest.raises(Killed):
        all_of(dying(Store(store.url), 1))
    store.remove(next(iter(store.own(CELL).values())))
    with pytest.raises(BadInput, match="its file is gone; restore"):
        all_of(store)


def test_the_command(store, barrage):
    code, out, _ = barrage("compact", store.url, "--cell", CELL)
    assert code == 0 and "8 units, 8 rows" in out and "8 units compacted, 0 left alone" in out
    assert barrage("verify", store.url)[0] == 0 and barrage("table", store.url)[0] == 0
    assert barrage("compact", store.url)[0] == 0 and "nothing to compact" in barrage("compact", store.url)[1]
    assert len(list(Path(store.url).glob("results/*/*.parquet"))) == 2
    code, _, err = barrage("compact", store.url, "--cell", "nothing")
    assert code == 2 and "nothing" in err and CELL in err
    assert barrage("compact", Path(store.url) / "none")[0] == 2
