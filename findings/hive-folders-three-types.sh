#!/usr/bin/env bash
# Polars 2.1.0, pyarrow 26.0.1 and DuckDB 2.0.1 read one partition folder as three types, and one of them changes its name.
#
# Seen: the folder model=1e5/seed=01 is the model 100000.0 for Polars and "1e5" for the others; the seed is the number 1 for Polars and
# pyarrow and the text "01" for DuckDB.
# Expected: one answer, or text where there is doubt. All three document that they read Hive's key=value folders and guess the types.
# Names of commits are hexadecimal, so some look like numbers ("12e4", "007"), and after a join of two readers those rows are missing.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import os

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

os.makedirs("rows/model=1e5/seed=01")
pq.write_table(pa.table({"x": [1]}), "rows/model=1e5/seed=01/part.parquet")
read = {
    "polars": pl.read_parquet("rows").select("model", "seed").row(0),
    "pyarrow": tuple(ds.dataset("rows", partitioning="hive").to_table(["model", "seed"]).to_pylist()[0].values()),
    "duckdb": duckdb.sql("select model, seed from read_parquet('rows/*/*/*.parquet', hive_partitioning = true)").fetchall()[0],
}
print(read)
assert read == {"polars": (1e5, 1), "pyarrow": ("1e5", 1), "duckdb": ("1e5", "01")}
PYTHON
