"""Images that stand twice in a cell are found, whether an earlier cell had its files or not, as by counting them one by one."""

import io
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput
from pipeline.store import doubles, rows
from pipeline.store.footers import Writer, facts_of
from pipeline.store.footers.facts import KEY
from pipeline.store.schema import SCHEMA
from tests.support.stores import synthetic


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    job = synthetic.store(tmp_path_factory.mktemp("one") / "store", synthetic.campaign([2]), images=40, unit_images=40)
    return rows.results(job.store, cells=[next(iter(job.cells))]).cast(SCHEMA)


def written(table, images, group=None, **how):
    """A file with a row for each of these (shard, key)."""
    found = table.slice(0, len(images))
    for name, values in zip(doubles.IMAGE, zip(*images, strict=True), strict=True):
        place = SCHEMA.get_field_index(name)
        found = found.set_column(place, SCHEMA.field(place), pa.array(values, pa.string()))
    buffer = io.BytesIO()
    with Writer(buffer, SCHEMA, **how) as writer:
        writer.write(found, group)
    return buffer.getvalue()


def read(images, file, columns=("k",)):
    return list(rows.read(io.BytesIO(file), "rows.parquet", columns, images=images))


def end(images, files):
    images.end("here", lambda: [batch for file in files for batch in read(None, file, doubles.IMAGE)])


@pytest.mark.parametrize("group", [40, 3])
def test_doubles_are_those_of_a_count_one_by_one(table, group):
    """Cells of files that share images, in one shard and in two, drawn from a pool: most of them were met before."""
    chance, images, told = random.Random(group), doubles.Images(), Counter()
    several = [(f"s{shard}", f"i{number:02d}") for shard in range(2) for number in range(30)]
    held = [several[start : start + 6] for start in range(0, 60, 6)] + [chance.sample(several, 5) for _ in range(6)]
    pool = {written(table, own, group): own for own in held}
    for _ in range(150):
        files = chance.choices([*pool], k=chance.randrange(1, 5))
        for file in files:
            assert all(batch.schema.names == ["k"] for batch in read(images, file))
        twice = max(Counter(image for file in files for image in pool[file]).values()) > 1
        told[twice] += 1
        if twice:
            with pytest.raises(BadInput, match="here holds the image i.. of shard s. . times"):
                end(images, files)
        else:
            end(images, files)
    assert min(told.values()) > 30


def said(file):
    return facts_of(pq.read_metadata(io.BytesIO(file)), len(file)).images


def test_keys_that_an_earlier_cell_has_are_not_decoded_and_others_are(table):
    images = doubles.Images()
    one, two = (written(table, [("s", f"{name}{i}") for i in range(9)]) for name in "ab")
    plain = written(table, [("s", f"a{i}") for i in range(9)], group=2, compression="none")
    others = [
        written(table, [("t", f"a{i}") for i in range(9)]),
        written(table, [("s", f"a{i}") for i in range(8)]),
        written(table, [("s", key) for key in ("a", "0a1", *(f"a{i}" for i in range(2, 9)))]),
        written(table, [("s", None), *(("s", f"a{i}") for i in range(1, 9))]),
        written(table, [("s", ""), *(("s", f"a{i}") for i in range(1, 9))]),
    ]
    for file in (one, two):
        read(images, file)
    end(images, [one, two])
    assert [images.new(said(file)) for file in (two, one, plain)] == [False] * 3, "however they are stored"
    assert [images.new(said(file)) for file in others] == [True] * 5
    assert len({said(file) for file in others}) == 5


def test_a_file_that_does_not_say_which_images_it_holds_is_always_read(table):
    """Such a cell is no earlier cell to others, and others are none to it."""
    images, files = doubles.Images(), [written(table, [("s", f"{name}{i}") for i in range(4)]) for name in "abb"]
    silent = [bytes(file).replace(KEY, KEY[::-1]) for file in files]
    for _ in range(2):
        assert [len(read(images, file)) for file in silent[:2]] == [1, 1]
        assert len(images._rows) == 2
        end(images, silent[:2])
    for file in silent:
        read(images, file)
    with pytest.raises(BadInput, match="here holds the image b. of shard s 2 times"):
        end(images, silent)


def test_only_so_many_cells_are_remembered(table, monkeypatch):
    monkeypatch.setattr("pipeline.store.doubles.images.REMEMBERED", 2)
    images, files = doubles.Images(), [written(table, [("s", f"{name}{i}") for i in range(4)]) for name in "abc"]
    for file in files:
        read(images, file)
        end(images, [file])
    assert [images.new(said(file)) for file in files] == [True, False, False]


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
                [pa.array(column).dictionary_encode() for column in zip(*images[at : at + size], strict=True)], doubles.IMAGE
            )
            for at in range(0, len(images), size)
        ]
        if twice:
            with pytest.raises(BadInput, match=f"here holds the image {found[7][1]} of shard {found[7][0]} 2 times"):
                doubles.refuse_doubles(batches, "here")
        else:
            doubles.refuse_doubles(batches, "here")
