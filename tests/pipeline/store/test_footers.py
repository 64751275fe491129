"""Columns with one value are taken from the facts in the footer of a file, and only where they are sure."""

import io
import random
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput
from pipeline.store import rows
from pipeline.store.footers import Writer, facts_of
from pipeline.store.footers.facts import KEY, SHARED
from pipeline.store.schema import SCHEMA
from tests.support.source.imports import ROOT
from tests.support.stores import synthetic

WANTED = ["image_key", "shard", "cell", "k", "status", "eps", "evaluation_draws", "adv_correct", "first_break",
          "zero_gradients", "given_distance", "adv_right", "label"]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    job = synthetic.store(tmp_path_factory.mktemp("one") / "store", synthetic.campaign([2]), images=64, unit_images=64)
    return rows.results(job.store, cells=[next(iter(job.cells))]).cast(SCHEMA)


def written(table, group=None, **how):
    buffer = io.BytesIO()
    with Writer(buffer, SCHEMA, **how) as writer:
        writer.write(table, group)
    return buffer


def read(buffer, columns=WANTED):
    return pa.Table.from_batches(rows.read(buffer, "rows.parquet", columns)).to_pylist()


def with_values(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


@pytest.mark.parametrize("group", [64, 16, 1])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "failed"),
        ("evaluation_draws", 3),
        ("eps", 0.5),
        ("first_break", 7),
        ("given_distance", 0.0),
        ("k", -1),
        ("cell", "z"),
    ],
)
def test_what_is_read_is_what_was_written_whether_a_column_has_one_value_or_several(table, group, name, value):
    """All rows, one of them, and one in the last group differ from the others; nulls are among the values."""
    before = table[name].to_pylist()
    for values in (
        [value] * 64,
        [value, *before[1:]],
        [*before[:-1], value],
        [None] * 64,
        [None, *[value] * 63],
        [*[value] * 63, None],
    ):
        changed = with_values(table, name, values)
        assert read(written(changed, group)) == changed.select(WANTED).to_pylist()


def test_a_column_of_which_all_have_one_value_may_be_all_that_is_wanted(table):
    assert read(written(table), ["cell", "device"]) == table.select(["cell", "device"]).to_pylist()


def test_a_file_without_statistics_is_read_all_the_same(table):
    assert read(written(table, write_statistics=False)) == table.select(WANTED).to_pylist()


@pytest.mark.parametrize("group", [None, 10])
@pytest.mark.parametrize("parts", [1, 4])
def test_facts_are_those_of_a_count(table, group, parts):
    """Rows that are written in parts, of which the last has another status and the first no policy."""
    table = with_values(table, "status", ["ok"] * 60 + ["failed"] * 4)
    table = with_values(table, "policy", [None] * 16 + ["own"] * 48)
    buffer = io.BytesIO()
    with Writer(buffer, SCHEMA) as writer:
        for at in range(0, 64, 64 // parts):
            writer.write(table.slice(at, 64 // parts), group)
    found = facts_of(pq.read_metadata(buffer), len(buffer.getvalue()))
    values = {name: {repr(value): value for value in table[name].to_pylist()} for name in SCHEMA.names}
    one = {name: value for name, own in values.items() if len(own) == 1 for value in own.values()}
    assert found.values == {name: value for name, value in one.items() if name in SHARED or value is None}
    assert {"cell", "eps", "target"} <= found.values.keys() and not {"status", "policy"} & found.values.keys()
    whole = written(table)
    assert found.images == facts_of(pq.read_metadata(whole), len(whole.getvalue())).images


def test_a_file_without_rows_has_no_values():
    empty = written(SCHEMA.empty_table())
    assert facts_of(pq.read_metadata(empty), len(empty.getvalue())).values == {}
    assert list(rows.read(empty, "rows.parquet", ["k"])) == []


def test_columns_among_the_facts_are_not_decoded(table, monkeypatch):
    asked, whole = [], pq.ParquetFile.iter_batches

    def spied(file, *args, columns, **options):
        asked.extend(columns)
        return whole(file, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spied)
    read(written(table), ["cell", "label", "target", "status"])
    assert asked == ["label"]


def test_what_another_program_made_of_a_file_is_read_as_it_stands(table):
    """It may keep all metadata, the facts among them."""
    about, status = pq.read_metadata(written(table)).metadata, table["status"].to_pylist()
    for changed in (
        table,
        table.slice(7),
        with_values(table, "status", ["failed", *status[1:]]),
        with_values(table, "k", [9] * 64),
    ):
        other = io.BytesIO()
        pq.write_table(changed.replace_schema_metadata(about), other)
        assert KEY in pq.read_metadata(other).metadata
        assert facts_of(pq.read_metadata(other), len(other.getvalue())) is None
        assert read(other) == changed.select(WANTED).to_pylist()


def test_rows_of_another_campaign_or_unit_are_refused_with_facts_and_without(table):
    unit = table["unit"][0].as_py()
    for name, said in (("campaign", "another campaign"), ("unit", "the unit zz")):
        for values in (["zz"] * 64, ["zz", *table[name].to_pylist()[1:]], [*table[name].to_pylist()[:-1], "zz"]):
            file = written(with_values(table, name, values)).getvalue()
            for data in (file, file.replace(KEY, KEY[::-1])):
                with pytest.raises(BadInput, match=said):
                    list(rows.read(io.BytesIO(data), f"results/{unit}.parquet", ["k"], table["campaign"][0].as_py()))
                with pytest.raises(BadInput, match=said):
                    rows.table(data, f"results/{unit}.parquet", identity=table["campaign"][0].as_py())


def test_any_flipped_bit_of_a_footer_is_refused_or_changes_nothing(table):
    """Columns of one value included: only the facts carry a hash. Names and provenance may change; no value may."""
    chance, buffer = random.Random(3), written(table)
    data, expected = buffer.getvalue(), table.select(WANTED).to_pylist()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    same = 0
    for place in chance.sample(range(footer, len(data) - 8), 250):
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        try:
            found = read(io.BytesIO(bytes(damaged)))
        except (BadInput, pa.ArrowException, OSError, ValueError):
            continue
        assert found == expected, place
        same += 1
    assert 0 < same < 250


def test_no_code_asks_parquet_for_what_its_footer_says_of_a_column():
    """pyarrow ends the process there if that is damaged."""
    asking = re.compile(r"\.(row_groups?\b|statistics\b|split_by_row_group|ensure_complete_metadata)|metadata.*\.to_dict\(")
    sources = [path for name in ("pipeline", "cluster", "notebooks", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    assert len(sources) > 200
    assert [f"{path}: {line}" for path in sources for line in path.read_text().splitlines() if asking.search(line)] == []
