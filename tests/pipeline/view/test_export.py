"""The page as files: the same rows and figures, pictures that are those of the store, no path of the machine that wrote it."""

import base64
import io
import json
import re

import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view import export, neighbours
from pipeline.view.rows import queries
from pipeline.view.rows.columns import STORED
from tests.support.stores import viewer

pytest.importorskip("pipeline.view.page", reason="needs the page")


@pytest.fixture
def written(tmp_path, half, monkeypatch):
    """An export of a store without pictures; returns its folder, and what its data scripts give to the page."""

    def compared(first, a, second, b, rule, top):
        return {"problem": f"{first.url}::{a} and so on", "cells": [a, b], "first": {"store": second.url}}

    monkeypatch.setattr(neighbours, "compared", compared)
    monkeypatch.setattr(neighbours, "errors", lambda store, cell, rule, top: {"cell": cell, "store": f"{half}/results"})
    lines = []
    export.Export(tmp_path / "out", [f"{half}/"], lines.append).write(5)
    assert lines == []
    return tmp_path / "out", {path.stem: parsed(path) for path in (tmp_path / "out" / "data").iterdir()}


def parsed(path):
    """The value of a data script, which is one call with the script's own name."""
    found = re.fullmatch(r'view\.data\("([A-Za-z0-9_-]+)", (.*)\);\n', path.read_text(), re.S)
    assert found[1] == path.stem
    return json.loads(found[2])


def test_rows_are_those_of_the_server_in_its_order(written, read):
    _, data = written
    table = pq.read_table(io.BytesIO(base64.b64decode(data[data["stores"]["static"]["rows"]["0"]])))
    names = [name for name in table.column_names if name in STORED]
    assert names == list(STORED) and "place" not in table.column_names
    assert len(table.column_names) == len(STORED) + 4 * len(RULES)
    for rule in RULES:
        asked = queries.parsed({"rule": rule, "top": 5, "columns": [*names, "clean", "adv"], "limit": 1000}, list(RULES))
        columns = [*names, f"clean_{rule}_5", f"adv_{rule}_5"]
        rows = [tuple(row[name] for name in columns) for row in table.to_pylist()]
        assert rows == read.database.answer(asked)["rows"] and len(rows) == 594


def test_the_figures_are_those_of_the_page(written, read, half):
    folder, data = written
    (store,) = data["stores"]["stores"]
    changed = {name for name in store if store[name] != read.content[name]}
    assert changed <= {"place"} and store["place"].rstrip("/") == half.name and data["stores"]["live"] is False
    assert str(half.parent) not in "".join(path.read_text(errors="replace") for path in folder.rglob("*.js")), (
        "the path is private"
    )


def test_every_cell_has_its_errors_and_pairs_both_ways(written):
    _, data = written
    static, cells = data["stores"]["static"], [cell["cell"] for cell in data["stores"]["stores"][0]["cells"]]
    assert {entry[1]: data[entry[-1]]["cell"] for entry in static["errors"]} == {cell: cell for cell in cells}
    assert {tuple(data[entry[-1]]["cells"]) for entry in static["compare"]} == {(a, b) for a in cells for b in cells if a != b}
    assert all([entry[1], entry[3]] == data[entry[-1]]["cells"] for entry in static["compare"])


def test_the_page_is_whole_and_reads_its_data(written):
    folder, data = written
    page = (folder / "index.html").read_text()
    assert 'data-source="static"' in page
    for name in re.findall(r'(?:src|href)="([^":]+)"', page):
        assert name.startswith("#") or (folder / name).is_file(), name
    assert data["stores"]["static"]["images"] == {"0": 0}


def test_places_of_images_are_spread_by_a_known_hash():
    """FNV-1a: the values of its own page (http://www.isthe.com/chongo/tech/comp/fnv) and of the page's script."""
    whole = 1 << 32
    assert [export.chunk(text, whole) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]
    assert export.chunk("ü/😀", 7) == export.chunk("ü/😀", whole) % 7


def test_an_export_that_cannot_be_begins_nothing(tmp_path):
    (tmp_path / "store").mkdir()
    with pytest.raises(BadInput, match="holds no campaign.yaml"):
        export.Export(tmp_path / "out", [str(tmp_path / "store")], print).write(1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match="not empty"):
        export.Export(tmp_path, [str(tmp_path / "store")], print)


def test_images_are_chosen_of_every_outcome(half):
    chosen = export._chosen(viewer.watched(half), 12)
    assert len(set(chosen)) == 12 and export._chosen(viewer.watched(half), 0) == []
    store, found = viewer.watched(half), set()
    for shard, key in chosen:
        where = [["shard", "=", shard], ["image_key", "=", key]]
        rows = store.database.answer(queries.parsed({"where": where, "columns": ["outcome"]}, list(RULES)))["rows"]
        found |= {outcome for (outcome,) in rows}
    assert {"wrong", "broken", "survived"} <= found
