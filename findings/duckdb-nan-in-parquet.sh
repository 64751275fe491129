#!/usr/bin/env bash
# DuckDB 2.0.1 loses NaN rows of a Parquet file that a condition selects.
#
# Seen: of the rows 1.0, 2.0 and NaN, `x > 5`, `x = 'nan'` and `isnan(x)` count 1 in a table of DuckDB's own and 0 in a Parquet file
# written by pyarrow 26.0.1; `max(x)` is NaN in the table and 2.0 from the file. Written without statistics, the same file counts 1 and
# NaN.
# Expected: the same rows, wherever they lie. DuckDB's page on numeric types says that NaN is greater than every other number and equal to
# itself. Parquet's own notes on statistics (parquet.thrift) forbid NaN in the least and greatest value of a column, so that a reader may
# not conclude from them that no NaN is there.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

rows = pa.table({"x": [1.0, 2.0, float("nan")]})
pq.write_table(rows, "with.parquet")
pq.write_table(rows, "without.parquet", write_statistics=False)
con = duckdb.connect()
con.execute("create table own as select * from 'with.parquet'")


def ask(source: str) -> list[str]:
    conditions = ("x > 5", "x = 'nan'::double", "isnan(x)")
    counts = [con.execute(f"select count(*) from {source} where {c}").fetchall()[0][0] for c in conditions]
    return [*map(str, counts), str(con.execute(f"select max(x) from {source}").fetchall()[0][0])]


seen = {name: ask(source) for name, source in (("table", "own"), ("file", "'with.parquet'"), ("no statistics", "'without.parquet'"))}
print(seen)
assert seen["table"] == seen["no statistics"] == ["1", "1", "1", "nan"], seen
assert seen["file"] == ["0", "0", "0", "2.0"], seen
PYTHON
