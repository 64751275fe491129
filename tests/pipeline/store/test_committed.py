"""A store holds what its campaign made: every command refuses rows that are doubled, foreign or without a plan, in one line."""

import json
import random
import re
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import analysis
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.status.summary import Reader
from pipeline.store import formats, schema
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support.campaigns import in_order
from tests.support.reporters import KeptLines
from tests.support.stores import release01

CELL = "net-bart2-pgd"
READING = ("table", "report", "export", "seal", "verify", "show", "replay")


def content_of(folder):
    return yaml.safe_load((folder / "campaign.yaml").read_text())["campaign"]


def units(folder):
    return sorted(folder.glob(f"results/{CELL}--*.parquet"))


def arguments(command, folder, tmp_path):
    more = {
        "report": ["-o", tmp_path / "r.html"], "export": [tmp_path / "r.parquet"], "verify": ["--sample", 0],
        "show": ["image0", "-o", tmp_path / "s.png"], "replay": ["image0"],
    }  # fmt: skip
    return [command, folder, *more.get(command, [])]


def without_campaign(folder):
    (folder / "campaign.yaml").unlink()


def without_units(folder):
    shutil.rmtree(folder / "units")


def with_a_copy(folder):
    """A file of rows under a name that no unit has."""
    path = units(folder)[0]
    shutil.copy(path, folder / "results" / path.name.replace("000000-000001", "000100-000101"))


def with_a_copy_for_another_unit(folder):
    first, second = units(folder)[:2]
    shutil.copy(first, second)


def with_doubled_rows(folder):
    path = units(folder)[0]
    table = pq.ParquetFile(path).read()
    pq.write_table(pq.ParquetFile(path).read().take([0] * (2 * len(table))), path, write_page_checksum=True)


def with_an_image_of_another_unit(folder):
    """One row a unit, as it should be, but two of the same image."""
    first, second = units(folder)[:2]
    table = pq.ParquetFile(first).read()
    place = table.schema.get_field_index("unit")
    table = table.set_column(place, table.schema.field(place), [[second.stem] * len(table)])
    pq.write_table(table, second, write_page_checksum=True)


def with_a_strangers_cell(folder):
    shutil.copy(units(folder)[0], folder / "results" / "other-cell-pgd--photos-000000--000000-000001.parquet")


def of_another_campaign(folder):
    """The rows of a cell with the same name, made with another eps."""
    path = units(folder)[0]
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("campaign")
    table = table.set_column(place, table.schema.field(place), [["0123456789abcdef"] * len(table)])
    pq.write_table(table, path, write_page_checksum=True)


def with_another_cut(folder):
    """A flipped bit: units of 3 images rather than of 1."""
    path = folder / f"units/{CELL}.json"
    path.write_text(path.read_text().replace('"images": 1', '"images": 3'))


def with_another_limit(folder):
    path = folder / "campaign.yaml"
    path.write_text(path.read_text().replace("limit: null", "limit: 7"))


def with_odd_bytes(folder):
    (folder / f"units/{CELL}.json").write_bytes(b"\xff\xfe\x00{")


FAULTS = {
    without_campaign: "holds rows but no campaign.yaml, so nothing tells which of them count: copy the whole store",
    without_units: r"units/net-.*-pgd.json, which says how its cell is cut into units, is not there; .* restore",
    with_a_copy: "000100-000101.parquet is not of its campaign: .*plan no such unit; move that file away",
    with_a_copy_for_another_unit: "holds rows of the unit .*000000-000001, which would count twice: remove it",
    with_doubled_rows: "holds 2 rows, expected one for each image of its unit: remove it",
    with_an_image_of_another_unit: "holds the image .* of shard photos-000000 2 times: `barrage verify` names the unit; remove",
    with_a_strangers_cell: "campaign.yaml plans no cell and shard of the names in it; move that file away",
    of_another_campaign: "rows of another campaign",
    with_another_cut: f"units/{CELL}.json was changed after it was written: .* restore it",
    with_another_limit: "campaign.yaml was changed after it was written: .* restore it",
    with_odd_bytes: f"units/{CELL}.json holds no JSON object: it is damaged, or of another program; restore it",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_that_are_not_what_the_campaign_made_are_refused(store, folder, fault):
    fault(folder)
    for reading in (results, analysis.scores, analysis.table):
        with pytest.raises(BadInput, match=FAULTS[fault]):
            reading(store.url)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", READING)
def test_every_command_says_so_in_one_line_and_fails(store, folder, fault, command, barrage, tmp_path):
    fault(folder)
    code, out, err = barrage(*arguments(command, folder, tmp_path))
    assert code, out
    assert "Traceback" not in out + err
    if command != "verify":  # which lists every fault
        said = [line for line in (out + err).splitlines() if re.search("campaign.yaml|units/|restore|remove it", line)]
        assert 1 <= len(said) <= 2 and len(err.strip().splitlines()) <= 2


@pytest.mark.parametrize("fault", [without_campaign, without_units, with_a_copy, with_a_strangers_cell, with_another_cut])
def test_a_run_adds_nothing_to_such_a_store(store, folder, fault):
    campaign = content_of(folder)
    fault(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(BadInput, match=FAULTS[fault]):
        run(prepare(parse(campaign | {"unit_images": 3}, "c.yaml"), store.url), LocalExecutor(attacking), KeptLines())
    assert sorted(folder.rglob("*")) == before


def test_status_counts_what_is_foreign(store, folder):
    with_a_copy(folder)
    with_a_strangers_cell(folder)
    status = Reader(store.url).status()
    assert status.complete and [w for w in status.warnings if "2 files under results/ are no unit's" in w]


@pytest.mark.parametrize("name", [f"units/{CELL}.json", "campaign.yaml"])
def test_any_flipped_bit_of_the_plan_is_refused_or_changes_nothing(store, folder, before, name):
    """Nothing but white space, quotes and the names of the hash and the stamp may change unseen."""
    path, chosen = folder / name, random.Random(1)
    data = path.read_bytes()
    for place in sorted(chosen.sample(range(len(data)), min(len(data), 60))):
        damaged = bytearray(data)
        damaged[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            found = in_order(store.url)
        except BadInput as error:
            assert "\n" not in str(error) and path.name in str(error)
        else:
            assert found == before, f"a flipped bit at {place}"
    path.write_bytes(data)
    assert in_order(store.url) == before


def test_what_decides_which_rows_count_carries_its_hash(store, folder):
    content = json.loads((folder / f"units/{CELL}.json").read_text())
    assert len(content["sha256"]) == 64 == len(yaml.safe_load((folder / "campaign.yaml").read_text())["sha256"])
    again = formats.hashed({key: value for key, value in content.items() if key not in release01.STAMP})
    assert again == content, "the hash is of the content, not of how the file is laid out"


def test_a_store_from_before_the_hashes_and_the_one_folder_is_read_and_resumed(store, folder, before):
    """Format 2 as it was written before release 0.2: rows in folders, no hashes."""
    release01.in_folders(folder)
    for path in [folder / "campaign.yaml", *folder.glob("units/*.json")]:
        load, dump = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
        path.write_text(dump({key: value for key, value in load(path.read_text()).items() if key != "sha256"}))
    assert in_order(store.url) == before and Reader(store.url).status().complete
    sorted(folder.glob(f"results/cell={CELL}/*.parquet"))[0].unlink()
    job = prepare(parse(content_of(folder), "c.yaml"), store.url)
    assert len(job.todo()) == 1 and run(job, LocalExecutor(attacking), KeptLines()).exit_code == 0
    kept = [name for name in schema.SCHEMA.names if name not in schema.MEASURED]
    assert [[row[name] for name in kept] for row in in_order(store.url)] == [[row[name] for name in kept] for row in before]


def test_a_unit_in_both_layouts_counts_once(store, folder, before):
    shutil.copytree(folder / "results", folder.parent / "kept")
    release01.in_folders(folder)
    shutil.copytree(folder.parent / "kept", folder / "results", dirs_exist_ok=True)
    assert in_order(store.url) == before and Reader(store.url).status().cells[CELL].done == 8
    assert seal(store, CELL).rows == 8 and in_order(store.url) == before and opened(store.url).todo() == []
