"""One file of plain columns, as any program reads it."""

import json

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput, StorageError
from pipeline.store import export as module
from pipeline.store.export import export
from pipeline.store.schema import SCHEMA
from pipeline.store.sealed import seal

CELL = "net-bart2-pgd"


def plain(value):
    return [plain(one) for one in value] if isinstance(value, list | np.ndarray) else value


@pytest.mark.parametrize("sealed", [False, True])
def test_the_file_holds_every_row_value_for_value(store, before, tmp_path, sealed, monkeypatch):
    monkeypatch.setattr(module, "GROUP", 3)
    if sealed:
        seal(store, CELL)
    path = tmp_path / "out" / "rows.parquet"
    path.parent.mkdir()
    assert export(store.url, path) == 16
    found = sorted(pq.read_table(path).to_pylist(), key=lambda row: (row["cell"], row["image_key"]))
    assert found == before
    assert [p.name for p in path.parent.iterdir()] == ["rows.parquet"]


def test_its_columns_are_numbers_texts_and_lists(store, before, tmp_path):
    path = tmp_path / "rows.parquet"
    export(store.url, path, [CELL])
    file = pq.ParquetFile(path)
    assert file.schema_arrow.names == SCHEMA.names and file.schema_arrow.field("k").metadata[b"description"]
    assert json.loads(file.metadata.metadata[b"barrage"])["format"] == 2
    for field in file.schema_arrow:
        kind = field.type
        while pa.types.is_list(kind):
            kind = kind.value_type
        assert pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    frame = pandas.read_parquet(path)
    wanted = [row for row in before if row["cell"] == CELL]
    assert len(frame) == 8 and sorted(frame.image_key) == [row["image_key"] for row in wanted]
    assert plain(frame.sort_values("image_key").adv_top5.iloc[0]) == wanted[0]["adv_top5"]
    assert duckdb.sql(f"select sum(adv_correct) from '{path}'").fetchall()[0][0] == sum(row["adv_correct"] for row in wanted)
    assert polars.read_parquet(path)["adv_correct"].sum() == sum(row["adv_correct"] for row in wanted)


def test_bad_places_and_cells_leave_nothing(store, folder, tmp_path):
    for path, said in ((tmp_path, "is a folder"), (folder / "results" / "rows.parquet", "is inside the store")):
        with pytest.raises(BadInput, match=said):
            export(store.url, path)
    path = tmp_path / "rows.parquet"
    with pytest.raises(BadInput, match="holds no rows of the cell 'none'"):
        export(store.url, path, ["none"])
    next(folder.glob("results/*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="no whole Parquet file"):
        export(store.url, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        export(store.url, tmp_path / "file" / "rows.parquet")
    assert not list(tmp_path.glob("*.parquet*")) and not list(tmp_path.glob(".rows*"))


def test_the_command(store, tmp_path, barrage):
    code, out, _ = barrage("export", store.url, tmp_path / "rows.parquet", "--cell", CELL)
    assert code == 0 and "rows.parquet: 8 rows" in out
    assert set(pq.read_table(tmp_path / "rows.parquet")["cell"].to_pylist()) == {CELL}
