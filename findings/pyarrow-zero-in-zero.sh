#!/usr/bin/env bash
# pyarrow 26.0.1: -0.0 equals 0.0, but 0.0 is not in [-0.0].
#
# Seen: a table with one row of 0.0 gives it for the filter `x == -0.0` and nothing for `x in [-0.0]`; `unique` of 0.0 and -0.0 has two
# values.
# Expected: `in` is "equal to one of" (the compute page: is_in gives true for each element that is found in the value set), and `equal`
# follows IEEE 754, where both zeros are equal. So a signed score that was rounded to zero is found by one spelling of a filter and not by
# another.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

pq.write_table(pa.table({"x": [0.0]}), "rows.parquet")
equal = pq.read_table("rows.parquet", filters=[("x", "==", -0.0)]).num_rows
among = pq.read_table("rows.parquet", filters=[("x", "in", [-0.0])]).num_rows
values = len(pc.unique(pa.array([0.0, -0.0])))
print(f"equal: {equal} row, in: {among} rows, unique values: {values}")
assert (equal, among, values) == (1, 0, 2)
PYTHON
