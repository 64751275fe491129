#!/usr/bin/env bash
# Polars 2.1.0: the sum of a half-precision column is infinite where pandas and DuckDB give the number.
#
# Seen: 200,000 times 0.5, stored by pyarrow as float16, sums to inf in Polars and to 100,000 in pandas and DuckDB.
# Expected: 100,000. Polars documents that sums of the small integer types are made in 64 bits so that they do not overflow; halves are
# added in half precision, whose largest number is 65,504. Scores and losses that a network under autocast gives are of this type.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 pandas==3.1.1 duckdb==2.0.1 pyarrow==26.0.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"x": np.full(200_000, 0.5, np.float16)}), "rows.parquet")
sums = {
    "polars": float(pl.read_parquet("rows.parquet")["x"].sum()),
    "pandas": float(pd.read_parquet("rows.parquet")["x"].sum()),
    "duckdb": float(duckdb.sql("select sum(x) from 'rows.parquet'").fetchall()[0][0]),
}
print(sums)
assert sums == {"polars": float("inf"), "pandas": 100_000.0, "duckdb": 100_000.0}
PYTHON
