"""Stores that grow, are sealed, compacted, copied in part, damaged or deleted while they are watched."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.store import rows
from pipeline.store.layout import Store
from pipeline.store.sealed import seal
from pipeline.view.rows import queries, reading
from tests.support.stores import handmade, release01, synthetic, viewer

FEW = {"pgd": {"eps": "8/255", "steps": 4, "eot_draws": 2}}


@pytest.fixture
def folder(tmp_path):
    """A store with two cells of four units, all done."""
    synthetic.store(tmp_path / "store", synthetic.campaign([0, 2], FEW), 40, 10)
    return tmp_path / "store"


def table(folder):
    """The lines of `barrage table`, without scopes and times."""
    found = summaries.lines(rows.batches(str(folder), summaries.columns(RULES)), list(RULES))
    return [summaries.as_dict(line) | {"planned": 0, "seconds": 0} for line in found]


def seen(store):
    """The lines that the page shows, and that the table of rows is no other."""
    lines = [line | {"planned": 0, "seconds": 0} for line in store.content["lines"]]
    answer = store.database.answer(queries.parsed({"group": ["cell"], "limit": 1000}, list(RULES)))
    groups = {row[0]: row[1] for row in answer["rows"]}
    assert groups == {line["cell"]: line["images"] for line in lines}, "rows and lines tell the same"
    return lines


def taken(folder, count):
    """Moves all but the first `count` files of rows out of a store; returns them."""
    files = sorted((folder / "results").iterdir())[count:]
    aside = folder.parent / "aside"
    aside.mkdir()
    return [Path(shutil.move(file, aside)) for file in files]


def test_a_store_that_grows_is_read_file_by_file_each_once(folder, monkeypatch):
    later, opened = taken(folder, 1), []
    store = viewer.watched(folder)
    assert seen(store) == table(folder) and store.content["rows"] == 10 and not store.content["complete"]
    real = Store.open

    def noted(self, name):
        opened.append(name)
        return real(self, name)

    monkeypatch.setattr(Store, "open", noted)
    for count, file in enumerate(later, 2):
        shutil.move(file, folder / "results")
        before = store.revision
        opened.clear()
        store.refresh()
        assert opened == [f"results/{file.name}"]
        assert seen(store) == table(folder) and store.content["rows"] == 10 * count and store.revision > before
    assert store.content["complete"] and store.content["problem"] is None and store.content["loading"] is None
    before = store.revision
    store.refresh()
    assert store.revision == before, "nothing changed"


def test_sealing_changes_nothing_and_a_sealed_cell_is_read_from_its_copy(folder, monkeypatch):
    store = viewer.watched(folder)
    before, revision = seen(store), store.revision
    for cell in store.reading.cells:
        assert seal(Store(folder), cell).new
    store.refresh()
    assert seen(store) == before and store.revision == revision
    opened, real = [], Store.open

    def noted(self, name):
        opened.append(name)
        return real(self, name)

    monkeypatch.setattr(Store, "open", noted)
    again = viewer.watched(folder)
    assert seen(again) == before and {name.partition("/")[0] for name in opened} == {"sealed"}


def test_units_that_come_after_the_seal_are_added(folder):
    later = taken(folder, 6)
    for cell in {file.name.partition("--")[0] for file in (folder / "results").iterdir()}:
        seal(Store(folder), cell)
    store = viewer.watched(folder)
    assert seen(store) == table(folder)
    for file in later:
        shutil.move(file, folder / "results")
    store.refresh()
    assert seen(store) == table(folder) and store.content["rows"] == 80


def test_a_store_that_release_01_compacts_while_it_is_viewed(tmp_path, pattern_of_rows):
    store = viewer.watched(pattern_of_rows.store)
    before = seen(store)
    for cell in pattern_of_rows.cells:
        release01.compacted(pattern_of_rows.store, cell)
    store.refresh()
    assert seen(store) == before == table(pattern_of_rows.store) and store.content["problem"] is None


@pytest.fixture
def pattern_of_rows(tmp_path):
    return synthetic.store(tmp_path / "old", synthetic.campaign([0, 2], FEW), 20, 10)


def test_a_unit_that_is_removed_is_gone_and_one_made_again_is_read_again(folder):
    store = viewer.watched(folder)
    (file,) = taken(folder, 7)
    store.refresh()
    assert store.content["rows"] == 70 and seen(store) == table(folder)
    time.sleep(0.01)
    data = file.read_bytes()
    (folder / "results" / file.name).write_bytes(data)
    store.refresh()
    assert store.content["rows"] == 80 and seen(store) == table(folder)


def test_a_deleted_store_says_so_and_keeps_what_was_seen(folder):
    store = viewer.watched(folder)
    before = seen(store)
    shutil.rmtree(folder)
    store.refresh()
    assert "holds no campaign.yaml" in store.content["problem"] and seen(store) == before
    synthetic.store(folder, synthetic.campaign([0, 2], FEW), 40, 10)
    store.refresh()
    assert store.content["problem"] is None and seen(store) == table(folder)


@pytest.mark.parametrize("missing", ["campaign.yaml", "units", "results"])
def test_a_half_copied_store_says_so(folder, missing):
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    content = viewer.watched(folder).content
    expected = {"campaign.yaml": "copy the whole store", "units": "is not there", "results": None}[missing]
    assert (expected in content["problem"]) if expected else content["problem"] is None
    assert content["rows"] == 0 and "\n" not in (content["problem"] or "")


def test_files_of_another_store_are_named(folder, tmp_path):
    synthetic.store(tmp_path / "other", synthetic.campaign([5], FEW), 10, 10)
    store = viewer.watched(folder)
    before = seen(store)
    shutil.copy(next((tmp_path / "other" / "results").iterdir()), folder / "results")
    store.refresh()
    assert "is not of its campaign" in store.content["problem"] and seen(store) == before


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"PAR1" + data[100:]])
def test_a_damaged_file_is_named_and_the_others_are_shown(folder, damage):
    file = sorted((folder / "results").iterdir())[2]
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    store = viewer.watched(folder)
    assert file.name in store.content["problem"] and "no whole Parquet file" in store.content["problem"]
    store.refresh()
    assert store.content["rows"] == 70 and file.name in store.content["problem"]
    time.sleep(0.01)
    file.write_bytes(whole)
    store.refresh()
    assert store.content["problem"] is None and seen(store) == table(folder)


def test_a_file_that_is_damaged_in_its_middle_adds_no_row(folder, monkeypatch):
    """The rows before the damage were on their way already."""
    real, calls = rows.read, []

    def torn(file, path, columns, identity=""):
        for batch in real(file, path, columns, identity):
            yield batch
            if path.endswith("000010-000020.parquet") and not calls:
                calls.append(path)
                raise reading.BadInput(f"{path} is no whole Parquet file (page checksum): remove it")

    monkeypatch.setattr(reading, "rows", SimpleNamespace(read=torn))  # the status reads rows too
    store = viewer.watched(folder)
    assert calls and "no whole Parquet file" in store.content["problem"]
    store.refresh()
    seen(store)
    assert store.content["rows"] == 70


def test_a_damaged_sealed_copy_gives_way_to_its_unit_files(folder):
    copy = folder / seal(Store(folder), "resnet50-bart2-pgd").name
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) // 2])
    store = viewer.watched(folder)
    store.refresh()
    assert "barrage seal" in store.content["problem"] and store.content["rows"] == 80
    copy.unlink()
    store.refresh()
    assert store.content["problem"] is None and seen(store) == table(folder)


def test_an_image_that_stands_twice_in_a_cell_is_named(tmp_path):
    """As `table` refuses it. The shard holds a key twice."""
    job = synthetic.store(tmp_path / "store", synthetic.campaign([0], FEW), 20, 10, units=0)
    from pipeline.planning.units import Unit
    from pipeline.store import schema

    (cell,) = job.campaign.grid()
    for start in (0, 10):
        unit = Unit(cell.name, "val-000000", start, start + 10)
        found = synthetic.table(cell, unit, 20).to_pylist()
        found[0]["image_key"] = "twice"
        assert Store(job.store).create(Store(job.store).results(unit), schema.encode(found, {}))
    content = viewer.watched(job.store).content
    assert "holds the image twice of shard val-000000 twice" in content["problem"] and "barrage verify" in content["problem"]


def test_parked_units_come_with_their_tracebacks(tmp_path, pattern):
    from tests.support import tiny

    job = handmade.made(tiny.campaign(pattern), tmp_path / "store")
    cell = next(iter(job.cells))
    handmade.park(job, handmade.unit_of(job, cell, 1), ["first", "Traceback\n  File <b>\nOSError: disk gone"])
    (tmp_path / "store" / "parked" / "torn.json").write_text("{")
    store = viewer.watched(job.store)
    (unit,) = store.content["parked"]
    assert (unit["cell"], unit["tries"], unit["error"]) == (cell, 2, "OSError: disk gone")
    assert unit["traceback"] == "Traceback\n  File <b>\nOSError: disk gone"
    assert any("torn.json" in alarm for alarm in store.content["alarms"])


def test_a_thread_follows_the_store_while_a_page_is_open(folder, monkeypatch):
    from pipeline.view import watched

    monkeypatch.setattr(watched, "EVERY", 0.02)
    monkeypatch.setattr(watched, "SHARE", 1.0)
    monkeypatch.setattr(watched, "AWAY", 0.5)
    later = taken(folder, 4)
    store = viewer.watched(folder, refreshed=False)
    assert store.content["loading"] == 0 and store.content["rows"] == 0
    store.start()
    try:
        _until(store, 40)
        for file in later[:2]:
            shutil.move(file, folder / "results")
        store.asked()
        _until(store, 60)
        time.sleep(1.5)  # no page is open any more
        for file in later[2:]:
            shutil.move(file, folder / "results")
        time.sleep(0.3)
        assert store.content["rows"] == 60
        store.asked()
        _until(store, 80)
    finally:
        store.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "store 0" and not _ended(thread)]


def _until(store, count):
    end = time.monotonic() + 60
    while store.content["rows"] != count:
        assert time.monotonic() < end and store.content["problem"] is None, store.content
        store.asked()
        time.sleep(0.02)


def _ended(thread):
    thread.join(20)
    return not thread.is_alive()


def test_the_overview_comes_before_the_rows(folder, monkeypatch):
    """What the page shows while a long reading goes on."""
    shown = []
    monkeypatch.setattr(reading, "INSERTED", 1)
    monkeypatch.setattr(reading, "PIECE", 1)
    from pipeline.view import watched

    monkeypatch.setattr(watched, "EVERY", 0.0)
    store = viewer.watched(folder, refreshed=False)
    real = store.reading.update

    def update(report):
        shown.append(store.content)

        def both():
            report()
            shown.append(store.content)

        return real(both)

    monkeypatch.setattr(store.reading, "update", update)
    store.refresh()
    first, *rest = shown
    assert [cell["images_done"] for cell in first["cells"]] == [40, 40] and first["rows"] == 0 and first["loading"] == 0
    assert [content["rows"] for content in rest] == [10 * count for count in range(1, 9)]
    assert [content["loading"] for content in rest] == [count / 8 for count in range(1, 9)]
    assert store.content["loading"] is None and store.content["rows"] == 80


def test_a_bucket_is_watched_as_a_folder_is(s3, tmp_path):
    job = synthetic.store(tmp_path / "local", synthetic.campaign([0, 2], FEW), 20, 10)
    files = [path for path in Path(job.store).rglob("*") if path.is_file()]
    held = [path for path in files if path.parent.name == "results"][-1]
    remote = Store(f"{s3.url}/store")
    for path in files:
        if path != held:
            assert remote.create(path.relative_to(job.store).as_posix(), path.read_bytes())
    store = viewer.watched(remote.url)
    assert store.content["rows"] == 30 and store.content["problem"] is None and seen(store) == table(remote.url)
    assert remote.create(f"results/{held.name}", held.read_bytes())
    store.refresh()
    assert store.content["rows"] == 40 and seen(store) == table(job.store)


def test_the_overview_needs_no_torch(folder):
    """It is there before the packages that attack are loaded, which takes seconds."""
    code = f"""
import sys
from pipeline.scoring.rules import RULES
from pipeline.view import watched
from pipeline.view.server import serving
shown = []
watched.Watched._open = lambda self: shown.append(self.content) or sys.exit(print(len(self.content["cells"]), *sys.modules))
import pipeline.view
sys.modules["pipeline.view.figures"] = object()
pipeline.view.figures = sys.modules["pipeline.view.figures"]
watched.Watched("0", {str(folder)!r}, list(RULES)).refresh()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cells, *loaded = done.stdout.split()
    assert cells == "2" and "duckdb" in loaded and not {"torch", "ray", "matplotlib"} & set(loaded)
