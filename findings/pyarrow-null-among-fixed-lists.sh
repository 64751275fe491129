#!/usr/bin/env bash
# pyarrow 26.0.1 gives pandas other integers in lists of a fixed length as soon as any other row is null.
#
# Seen: [9007199254740993] in a list of one int64 is [9007199254740992.0] if another row is null, and [9007199254740993] if none is. No
# integer is missing: what is null is a whole list. In lists of any length the integers stay as they are, with the null too.
# Expected: integers, as for lists of any length. The page on nulls speaks of columns of integers and of missing values, not of lists
# without any. Vectors of keys or of hashes of an image are such columns; the row of one failed image changes all others.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1
venv/bin/python - <<'PYTHON'
import pandas as pd
import pyarrow as pa

LARGE = 2**53 + 1
FIXED, ANY = pa.list_(pa.int64(), 1), pa.list_(pa.int64())


def first(rows: list[list[int] | None], kind: pa.DataType, **options: object) -> object:
    return pa.table({"x": pa.array(rows, kind)}).to_pandas(**options).x[0][0]


seen = {
    (name, null): first([[LARGE], None] if null else [[LARGE]], kind)
    for name, kind in (("fixed", FIXED), ("any", ANY))
    for null in (False, True)
}
for (name, null), value in seen.items():
    print(f"{name} length, {'a null row' if null else 'no null row'}: {value!r}")
assert seen["fixed", True] == float(LARGE) and int(seen["fixed", True]) == LARGE - 1
assert all(value == LARGE and value.dtype == "int64" for where, value in seen.items() if where != ("fixed", True))
assert first([[LARGE], None], FIXED, types_mapper=pd.ArrowDtype) == LARGE
PYTHON
