#!/usr/bin/env bash
# fastparquet 2026.9.0 reads every list of lists as None, without an error or a warning.
#
# Seen: a column [[[1, 2], [3]], [[4]], []] is None in each row, and so is a column of lists of records. A column of plain lists, of lists of
# a fixed length and of maps comes back as it was written.
# Expected: the values, or an error. pyarrow reads the same file, and a null is another thing than an empty list. Files of this field
# hold such columns: boxes of an image, classes of each draw. A count of the nulls finds that nothing was measured.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
from fastparquet import ParquetFile

warnings.simplefilter("error", UserWarning)
table = pa.table(
    {
        "nested": [[[1, 2], [3]], [[4]], []],
        "records": [[{"class": 1}], [{"class": 2}, {"class": 3}], []],
        "plain": [[1, 2], [3], []],
        "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2)),
    }
)
pq.write_table(table, "rows.parquet")
frame = ParquetFile("rows.parquet").to_pandas()
read = {name: [None if row is None else [int(v) for v in row] for row in frame[name]] for name in table.schema.names}
print("written:", table.to_pydict())
print("read:   ", read)
assert read["nested"] == read["records"] == [None] * 3
assert read["plain"] == table["plain"].to_pylist() and read["fixed"] == table["fixed"].to_pylist()
assert pq.read_table("rows.parquet").equals(table)
PYTHON
