"""Each way of spoiling a store must be named by `verify`."""

import io
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from pipeline import rows
from pipeline.campaign import parse
from pipeline.executors import Here
from pipeline.job import prepare
from pipeline.progress import Reporter
from pipeline.run import run
from pipeline.store import Store
from pipeline.verify import verify
from tests.pipeline import tiny


@pytest.fixture
def job(tmp_path, pattern):
    found = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store"))
    run(found, Here(), Reporter(Console(quiet=True)))
    assert list(verify(found)) == []
    return found


def first(job):
    return next(Store(job.store).list("results/cell=*/*.parquet"))


def rewrite(job, change):
    path = first(job)
    table = pq.ParquetFile(path).read()
    found = table.to_pylist()
    change(found)
    path.write_bytes(rows.encode(found, {}))


def test_a_missing_unit(job):
    first(job).unlink()
    assert any("planned, but not done" in fault for fault in verify(job))


def test_a_unit_that_nobody_planned(job):
    shutil.copy(first(job), first(job).with_name("stranger.parquet"))
    assert any("stranger: no such unit" in fault for fault in verify(job))


def test_a_row_twice(job):
    rewrite(job, lambda found: found.append(dict(found[0])))
    assert any("not those of the shard" in f for f in verify(job)) and any("2 rows" in f for f in verify(job))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", 9, "the shard says"),
        ("linf", 0.2, "outside eps"),
        ("adv_correct", 77, "follows from adv_top5"),
        ("clean_top5_correct", 77, "follows from clean_top5"),
        ("campaign", "0" * 16, "another campaign"),
        ("clean_top5", [[1, 2, 3, 4, 5]], "shape"),
    ],
)
def test_a_changed_value(job, column, value, said):
    rewrite(job, lambda found: found[0].update({column: value}))
    assert any(said in fault for fault in verify(job))


def test_a_parquet_file_of_another_program(job):
    first(job).write_bytes(b"PAR1 nonsense")
    assert any("no Parquet file" in fault for fault in verify(job))


def test_a_shard_that_changed(job):
    shard = next(iter(job.shards.values()))
    with open(shard.url, "r+b") as file:
        file.seek(700)
        file.write(b"x")
    assert any("SHA-256" in fault for fault in verify(job))


def test_an_example_outside_the_ball_or_lost(job):
    path = next(Store(job.store).list("adversarial/cell=*/*.tar"))
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]
    name, data = members[0]
    image = np.asarray(Image.open(io.BytesIO(data))).copy()
    image[0, 0] ^= 128
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    with tarfile.open(path, "w") as tar:
        for member, content in [(name, buffer.getvalue()), *members[2:]]:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert any("away, eps" in fault for fault in verify(job))
    path.unlink()
    assert any("examples are missing" in fault for fault in verify(job))
