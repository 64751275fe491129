"""Columns with one value are taken from the footer of a file, and only where it is sure; images that stand twice are found."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput
from pipeline.store import rows, schema
from pipeline.store.schema import SCHEMA
from tests.support.stores import synthetic

WANTED = ["image_key", "shard", "cell", "k", "status", "eps", "evaluation_draws", "adv_correct", "first_break",
          "zero_gradients", "given_distance", "adv_right", "label"]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    job = synthetic.store(tmp_path_factory.mktemp("one") / "store", synthetic.campaign([2]), images=64, unit_images=64)
    return rows.results(job.store, cells=[next(iter(job.cells))]).cast(SCHEMA)


def written(table, **how):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **schema.WRITING | how)
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
        assert read(written(changed, row_group_size=group)) == changed.select(WANTED).to_pylist()


def test_a_column_of_which_all_have_one_value_may_be_all_that_is_wanted(table):
    assert read(written(table), ["cell", "device"]) == table.select(["cell", "device"]).to_pylist()


def test_a_file_without_statistics_is_read_all_the_same(table):
    assert read(written(table, write_statistics=False)) == table.select(WANTED).to_pylist()


def test_any_flipped_bit_of_a_footer_is_refused_or_changes_nothing(table):
    """Columns of one value included: a footer carries no checksum. Names and provenance may change; no value may."""
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


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("parts", [1, 3])
def test_an_image_that_stands_twice_is_found_in_any_order_and_across_files(order, parts):
    chance = random.Random(parts)
    keys = [f"i{i:04d}" for i in range(300)]
    found = [(f"s{i % 2}", key) for i, key in enumerate(keys)] + [
        ("s1", keys[0])
    ]  # the same key in another shard is another image
    for twice in (False, True):
        images = found + [found[7]] * twice
        images = sorted(images) if order == "sorted" else chance.sample(images, len(images))
        size = -(-len(images) // parts)
        batches = [
            pa.RecordBatch.from_arrays(
                [pa.array(column).dictionary_encode() for column in zip(*images[at : at + size], strict=True)], rows.IMAGE
            )
            for at in range(0, len(images), size)
        ]
        if twice:
            with pytest.raises(BadInput, match=f"here holds the image {found[7][1]} of shard {found[7][0]} 2 times"):
                rows.refuse_doubles(batches, "here")
        else:
            rows.refuse_doubles(batches, "here")
