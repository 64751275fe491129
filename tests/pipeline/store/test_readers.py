"""Every common reader gives the same rows and types of a store's files, in the way that a reader of its manual tries first."""

import importlib.util
import re
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline.store.schema import SCHEMA, SOURCE
from pipeline.store.sealed import seal
from tests.support.source.pages import ROOT
from tests.support.stores import release01

FLAT = {"string": "text", "int32": "int", "int64": "int", "double": "real", "bool": "bool"}
KINDS = {f.name: FLAT.get(str(f.type), "list") for f in [*SCHEMA, SOURCE]}
"""What every reader has to make of each column."""


def kind_of_arrow(kind):
    return FLAT.get(str(kind).removeprefix("large_"), "list" if "list" in str(kind) else str(kind))


def by_dataset(folder):
    table = ds.dataset(folder, partitioning="hive").to_table()
    return table.to_pylist(), {field.name: kind_of_arrow(field.type) for field in table.schema}


def by_dataset_without_folders(folder):
    table = ds.dataset(folder).to_table()
    return table.to_pylist(), {field.name: kind_of_arrow(field.type) for field in table.schema}


def by_table(folder):
    table = pq.read_table(folder)
    return table.to_pylist(), {field.name: kind_of_arrow(field.type) for field in table.schema}


def by_pandas(folder):
    frame = pd.read_parquet(folder, dtype_backend="pyarrow")
    return pa.Table.from_pandas(frame).to_pylist(), {n: kind_of_arrow(t.pyarrow_dtype) for n, t in frame.dtypes.items()}


def _by_polars(frame):
    kinds = {"String": "text", "Int32": "int", "Int64": "int", "Float64": "real", "Boolean": "bool"}
    return frame.rows(named=True), {name: kinds.get(str(t), "list") for name, t in frame.schema.items()}


def by_polars_folder(folder):
    return _by_polars(pytest.importorskip("polars").read_parquet(folder, hive_partitioning=True))


def by_polars_glob(folder):
    return _by_polars(pytest.importorskip("polars").scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).collect())


def by_duckdb(folder, hive="true"):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"select * from read_parquet('{folder}/**/*.parquet', hive_partitioning = {hive})")
    kinds = {"VARCHAR": "text", "INTEGER": "int", "BIGINT": "int", "DOUBLE": "real", "BOOLEAN": "bool"}
    types = {name: kinds.get(str(t), "list") for name, t in zip(found.columns, found.types, strict=True)}
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()], types


def by_duckdb_without_folders(folder):
    return by_duckdb(folder, "false")


READERS = [
    by_dataset, by_dataset_without_folders, by_table, by_pandas, by_polars_folder, by_polars_glob, by_duckdb,
    by_duckdb_without_folders,
]  # fmt: skip


def plain(value):
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("part", ["results", "sealed"])
def test_rows_and_types_are_the_same(store, folder, before, part, read):
    for cell in ("net-bart2-pgd", "net-none-pgd") if part == "sealed" else ():
        seal(store, cell)
    rows, kinds = read(str(folder / part))
    assert kinds == {name: kind for name, kind in KINDS.items() if part == "sealed" or name != SOURCE.name}
    found = [{name: plain(row[name]) for name in SCHEMA.names} for row in rows]
    assert sorted(found, key=lambda row: (row["cell"], row["image_key"])) == before


@pytest.mark.parametrize("read", READERS)
def test_a_name_that_looks_like_another_type_stays_text(tmp_path, read):
    """Readers that take a column from a folder's name guess its type: a cell 2026-11-30 became a date."""
    table = pa.table({"cell": ["2026-11-30"], "image_key": ["007"]})
    (tmp_path / "results").mkdir()
    pq.write_table(table, tmp_path / "results" / "2026-11-30--s--000000-000001.parquet")
    rows, kinds = read(str(tmp_path / "results"))
    assert rows == [{"cell": "2026-11-30", "image_key": "007"}] and kinds == {"cell": "text", "image_key": "text"}


def test_the_layout_of_release_01_is_what_they_disagree_about(folder):
    """The reason for one folder: a column that is in the files and in the folders has two types."""
    release01.in_folders(folder)
    with pytest.raises((pa.ArrowTypeError, pa.ArrowInvalid)):
        by_dataset(str(folder / "results"))


def test_bits_are_read_as_the_page_says_where_an_image_failed(folder):
    """Its null makes floats of integers in pandas, of which no bit can be asked."""
    path = sorted((folder / "results").glob("net-none-pgd*.parquet"))[0]
    table = pq.read_table(path)
    for name, value in (("status", "bad_image"), ("adv_right", None), ("adv_mean_top5", None)):
        field = table.schema.field(name)
        table = table.set_column(table.schema.names.index(name), field, pa.array([value], field.type))
    pq.write_table(table, path)
    (block,) = re.findall(r"```python\n(bits = .*?)```", (ROOT / "docs" / "parquet.md").read_text(), re.DOTALL)
    made = {"pd": pd}
    exec(block.replace("demo/store", str(folder)).replace("print(", "found = ("), made)
    rows = [row for row in ds.dataset(folder / "results").to_table().to_pylist() if row["status"] == "ok"]
    truth = {cell: [row["adv_right"] & 1 for row in rows if row["cell"] == cell] for cell in ("net-bart2-pgd", "net-none-pgd")}
    assert [len(votes) for votes in truth.values()] == [8, 7]
    assert made["found"].to_dict() == {cell: sum(votes) / len(votes) for cell, votes in truth.items()}


def test_spark_and_hive_find_every_file(folder):
    """They read the files of a folder and of folders called `column=value`, but none that begin with _ or a dot."""
    inside = list((folder / "results").iterdir())
    assert len(inside) == 16 and all(path.is_file() and path.name[0] not in "_." and "=" not in path.name for path in inside)


def test_spark_reads_them(folder):
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("needs pyspark and Java: pip install pyspark")
    code = (
        "import sys; from pyspark.sql import SparkSession; s = SparkSession.builder.master('local[1]').getOrCreate();"
        "f = s.read.parquet(sys.argv[1]); print(f.count(), sorted(r.cell for r in f.select('cell').distinct().collect()),"
        "dict(f.dtypes)['cell'], dict(f.dtypes)['clean_top5'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder / "results")], capture_output=True, text=True)
    assert done.stdout.strip() == "16 ['net-bart2-pgd', 'net-none-pgd'] string array<array<int>>", done.stderr


def test_r_reads_them_as_hive_folders_are_read(folder):
    """`open_dataset` of R's arrow is the dataset of pyarrow with folders discovered as hive's, the very same C++ code."""
    factory = ds.FileSystemDatasetFactory(
        pa.fs.LocalFileSystem(),
        pa.fs.FileSelector(str(folder / "results"), recursive=True),
        ds.ParquetFileFormat(),
        ds.FileSystemFactoryOptions(partitioning=ds.HivePartitioning.discover(infer_dictionary=False)),
    )
    assert factory.finish().schema.names == SCHEMA.names
