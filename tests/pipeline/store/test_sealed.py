"""Sealing: killed between any two writes, raced, outdated, damaged: every reader sees each row once, value for value."""

import hashlib
import shutil
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import attacking
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.scoring.decided import DECIDED
from pipeline.scoring.summaries import lines
from pipeline.status.summary import Reader
from pipeline.store import committed, rows, schema, sealed
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support.campaigns import in_order, in_use

CELL, OTHER = "net-bart2-pgd", "net-none-pgd"


def right(store, before):
    """Assert that rows, tables, todo, status and verify are those of the store before it was sealed."""
    job = opened(store.url)
    assert in_order(store.url) == before
    assert job.todo() == [] and len(store.done()) == 16
    assert Reader(job.store).status().complete
    assert [line.images for line in lines(results(store.url))] == [8, 8]
    assert list(verify(job)) == []


def copies(folder, cell=CELL):
    return sorted(folder.glob(f"sealed/{cell}--*"))


def spoil(path):
    """Replace a file by one that holds none of its rows, under the same name."""
    path.write_bytes(b"PAR1 nonsense")


def test_a_sealed_cell_is_read_from_one_file_with_every_row(store, folder, before, monkeypatch):
    monkeypatch.setattr(sealed, "GROUP", 3)
    units = sorted(folder.glob(f"results/{CELL}--*"))
    found = seal(store, CELL)
    digest = hashlib.sha256("\n".join(path.name for path in units).encode()).hexdigest()[:16]
    assert found.name == f"sealed/{CELL}--8-{digest}.parquet" and (found.files, found.rows, found.new) == (8, 8, True)
    assert in_use(store.url) == [
        found.name,
        *(f"results/{p.name}" for p in sorted(folder.glob(f"results/{OTHER}--*"))),
    ]
    right(store, before)
    assert sorted(folder.glob(f"results/{CELL}--*")) == units, "the unit files stay"
    assert seal(store, CELL) == sealed.Sealed(found.name, 8, 8, found.bytes, False)
    for path in units:
        spoil(path)
    assert in_order(store.url) == before, "the unit files are not opened"


def test_the_sealed_file_is_zstd_in_order_and_names_its_sources(store, folder):
    found = seal(store, CELL)
    file = pq.ParquetFile(folder / found.name)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD" and found.bytes == (folder / found.name).stat().st_size
    assert schema.provenance(file.schema_arrow) == {"format": 2, "release": "0.2", "cell": CELL, "files": 8}
    table = file.read()
    assert table.schema.names == [*schema.SCHEMA.names, "file_sha256"]
    for unit, digest in zip(table["unit"].to_pylist(), table["file_sha256"].to_pylist(), strict=True):
        assert hashlib.sha256((folder / f"results/{unit}.parquet").read_bytes()).hexdigest() == digest
    assert table["unit"].to_pylist() == sorted(table["unit"].to_pylist())


def test_a_copy_from_before_a_column_that_follows_from_others_is_sound_and_is_read(store, folder, before):
    path = folder / seal(store, CELL).name
    pq.write_table(pq.ParquetFile(path).read().drop_columns(list(DECIDED)), path, write_page_checksum=True)
    assert not list(sealed.differences(store, CELL)) and in_order(store.url) == before
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["adv_margin"]), path, write_page_checksum=True)
    (said,) = sealed.differences(store, CELL)
    assert "other columns than a sealed copy has" in said


class Killed(BaseException):
    """What kill -9 is to the code: no handler sees it."""


def dying(store, after):
    """Return the store, whose process is killed before its write number `after` (from 0)."""
    left = [after]

    def killing(write):
        def call(*arguments):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return write(*arguments)

        return call

    store.create, store.replace, store.remove = map(killing, (store.create, store.replace, store.remove))
    return store


@pytest.mark.parametrize("after", range(4))
def test_killed_between_any_two_writes_each_row_is_there_once_and_the_next_seal_ends_it(store, folder, before, after):
    """The new copy, and the removal of two outdated ones: after each of them the process is gone."""
    hidden = folder / "hidden.parquet"
    last = sorted(folder.glob(f"results/{CELL}--*"))[-1]
    shutil.move(last, hidden)
    seal(store, CELL)
    (folder / f"sealed/{CELL}--6-0123456789abcdef.parquet").write_bytes(b"an older one")
    shutil.move(hidden, last)
    if after < 3:
        with pytest.raises(Killed):
            seal(dying(Store(folder), after), CELL)
    else:
        seal(dying(Store(folder), after), CELL)
    right(store, before)
    assert len(copies(folder)) == [2, 3, 2, 1][after]
    assert seal(store, CELL).new == (after == 0)
    right(store, before)
    assert [path.name.rpartition("--")[2].partition("-")[0] for path in copies(folder)] == ["8"]


def test_a_unit_that_is_committed_while_a_cell_is_sealed_counts_and_outdates_the_copy(store, folder, before):
    last = sorted(folder.glob(f"results/{CELL}--*"))[-1]
    data = last.read_bytes()
    last.unlink()
    late = Store(folder)
    replace = late.replace

    def slower(name, content):
        last.write_bytes(data)
        replace(name, content)

    late.replace = slower
    assert seal(late, CELL).files == 7
    assert committed.files(store)[1][CELL] == committed.sources(store)[CELL], "the copy of seven files is not used"
    right(store, before)
    assert seal(store, CELL).files == 8 and len(copies(folder)) == 1
    right(store, before)


def test_a_store_sealed_half_way_is_resumed_and_nothing_is_done_again(store, folder, before):
    for path in sorted(folder.glob(f"results/{CELL}--*"))[5:]:
        path.unlink()
    seal(store, CELL)
    job = opened(store.url)
    assert len(job.todo()) == 3
    events = [e for e in LocalExecutor(attacking).execute(job, job.todo(), threading.Event()) if isinstance(e, Finished)]
    assert len(events) == 3 and not any(event.lost for event in events)
    assert [{k: v for k, v in row.items() if k not in schema.MEASURED} for row in in_order(store.url)] == [
        {k: v for k, v in row.items() if k not in schema.MEASURED} for row in before
    ]


def test_many_seals_at_once_leave_one_copy(store, folder, before):
    barrier, errors = threading.Barrier(4), []

    def work():
        barrier.wait()
        try:
            seal(Store(folder), CELL)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(copies(folder)) == 1
    right(store, before)


def test_a_slow_seal_does_not_remove_the_newer_one(store, folder, before):
    last = sorted(folder.glob(f"results/{CELL}--*"))[-1]
    data = last.read_bytes()
    last.unlink()
    slow = Store(folder)
    replace = slow.replace

    def meanwhile(name, content):
        last.write_bytes(data)
        assert seal(store, CELL).files == 8
        replace(name, content)

    slow.replace = meanwhile
    seal(slow, CELL)
    assert committed.files(store)[1][CELL][0].startswith(f"sealed/{CELL}--8-")
    right(store, before)


def test_readers_go_on_while_copies_come_and_go(store, folder, before):
    stop, errors = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert in_order(store.url) == before and len(store.done()) == 16
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(5):
        for cell in (CELL, OTHER):
            seal(Store(folder), cell)
        for path in [*copies(folder), *copies(folder, OTHER)]:
            path.unlink()
    stop.set()
    thread.join()
    assert errors == []


def test_a_copy_that_is_gone_when_it_is_opened_gives_way_to_the_unit_files(store, folder, before, monkeypatch):
    name = seal(store, CELL).name
    found = in_use(store.url)
    plan, files = committed.files(store)
    (folder / name).unlink()
    monkeypatch.setattr(committed, "files", lambda store: (plan, files))
    assert name in found and in_order(store.url) == before


@pytest.mark.parametrize(
    "damage", [spoil, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.write_bytes(b"")]
)
def test_a_damaged_copy_is_refused_named_and_made_again(store, folder, before, damage, barrage):
    path = folder / seal(store, CELL).name
    damage(path)
    with pytest.raises(BadInput, match=r"no whole sealed copy .*: make it again .* with `barrage seal`"):
        results(store.url)
    code, _, err = barrage("table", folder)
    assert code == 2 and str(path) in err and len(err.strip().splitlines()) == 1
    assert any(f"{path.name}: no whole sealed copy" in fault for fault in verify(opened(store.url)))
    assert seal(store, CELL).new
    right(store, before)


def replaced(path, change):
    table = change(pq.ParquetFile(path).read())
    pq.write_table(table, path, compression="zstd")


def with_value(table, name, place, value):
    values = table[name].to_pylist()
    values[place] = value
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values, table[name].type))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: with_value(t, "adv_correct", 3, 77), "its rows are not those of"),
        (lambda t: with_value(t, "file_sha256", 7, "0" * 64), "its rows are not those of"),
        (lambda t: t.slice(0, 7), "its rows are not those of"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "it holds 1 rows more"),
        (lambda t: t.drop_columns(["file_sha256"]), "other columns"),
    ],
)
def test_verify_compares_the_copy_with_the_unit_files(store, folder, change, said):
    path = folder / seal(store, CELL).name
    assert list(sealed.differences(store, CELL)) == []
    replaced(path, change)
    (fault,) = verify(opened(store.url))
    assert fault.startswith(f"sealed/{CELL}--8-") and said in fault


def test_a_unit_file_that_changed_after_sealing_is_named(store, folder):
    seal(store, CELL)
    path = sorted(folder.glob(f"results/{CELL}--*"))[2]
    table = rows.table(path.read_bytes(), str(path))
    changed = with_value(table, "seconds", 0, 123.0)
    path.write_bytes(schema.encode(changed.to_pylist(), {}))
    (fault,) = verify(opened(store.url))
    assert f"its rows are not those of results/{path.name}" in fault
    assert seal(store, CELL).new and list(verify(opened(store.url))) == []
    assert 123.0 in results(store.url, ["seconds"])["seconds"].to_pylist()


def test_a_cell_with_a_file_that_holds_no_rows_of_its_unit_is_not_sealed(store, folder, barrage):
    paths = sorted(folder.glob(f"results/{CELL}--*"))
    whole = paths[0].read_bytes()
    for data, said in (
        (b"PAR1 nonsense", "no whole Parquet file"),
        (paths[2].read_bytes(), "holds rows of the unit .* would count twice"),
        (schema.encode([], {}), "holds 0 rows, expected one for each image"),
    ):
        paths[0].write_bytes(data)
        with pytest.raises(BadInput, match=said):
            seal(store, CELL)
        assert not copies(folder)
    code, out, _ = barrage("seal", folder)
    assert code == 1 and f"{CELL}: not sealed: {paths[0]}" in out and f"{OTHER}: sealed, 8 rows of 8 files" in out
    paths[0].write_bytes(whole)
    assert barrage("seal", folder)[0] == 0


def test_the_commands(store, folder, barrage):
    code, out, _ = barrage("seal", folder, "--cell", CELL)
    assert code == 0 and f"{CELL}: sealed, 8 rows of 8 files" in out and not copies(folder, OTHER)
    code, out, err = barrage("compact", folder)
    assert code == 0 and "deprecated" in err and f"barrage seal {folder}" in err
    assert f"{CELL}: is sealed already" in out and f"{OTHER}: sealed, 8 rows" in out
    assert barrage("verify", folder)[0] == 0 and barrage("table", folder)[0] == 0
    assert len(list(folder.glob("results/*.parquet"))) == 16
    code, _, err = barrage("seal", folder, "--cell", "nothing")
    assert code == 2 and "nothing" in err and CELL in err
    assert barrage("seal", folder / "none")[0] == 2
