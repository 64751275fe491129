"""A store by a stranger: markup, scripts, escapes and ten megabytes in keys, names and errors change nothing but text."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.planning.units import Unit
from pipeline.scoring.rules import RULES
from pipeline.store import schema
from pipeline.store.layout import Store
from pipeline.view import neighbours
from pipeline.view.images import stored
from pipeline.view.rows import queries, scored
from tests.support.stores import handmade, synthetic, viewer

LONG = "x" * 10_000_000
TEXTS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><svg onload=alert(1)>", "\x1b[2J\x07",
    "\u202egnp.exe", "a\nb\r\nc", "\x00", "'; DROP TABLE rows; --", "{{7*7}}${7*7}", "../../etc/passwd", "%2e%2e%2f",
    "__proto__", "\u2028\u2029", "ａ😀", "",
    f"one{LONG}", f"two{LONG}", f"{LONG}end one", f"{LONG}end two",
]  # fmt: skip
"""Keys; the long ones differ at their beginning, or only at their end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of one cell whose rows have TEXTS as keys, and as errors of images that failed."""
    place = tmp_path_factory.mktemp("hostile")
    classes = [(TEXTS[i % 15] or "none").translate({10: " ", 13: " ", 0: "0"}) for i in range(30)] + [LONG[:1_000_000]]
    content = synthetic.campaign([2], {"pgd": {"eps": "8/255", "steps": 4, "eot_draws": 2}})
    content |= {"data": content["data"] | {"classes": classes}}
    job = synthetic.store(place, content, 80, 40, units=0)
    (cell,) = job.campaign.grid()
    unit = Unit(cell.name, "val-000000", 0, 40)
    found = synthetic.table(cell, unit, 80).to_pylist()
    for row, text in zip(found, TEXTS, strict=False):
        row["image_key"], row["label"] = text, 1
    for row, text in zip(found[20:], TEXTS, strict=False):
        row |= {name: None for name in row if name.startswith(("clean", "adv"))} | {"status": "bad_image", "error": text}
    assert Store(place).create(Store(place).results(unit), schema.encode(found, {}))
    handmade.park(job, Unit(cell.name, "val-000000", 40, 80), [f"Traceback\n{LONG}\n<script>{LONG}"])
    check = {"cell": cell.name, "checks": [{"name": "<b>", "passed": float("nan"), "figures": LONG[:99], "why": "\x1b[31m"}]}
    Store(place).replace("check/x/check.json", json.dumps(check).encode())
    return place


@pytest.fixture(scope="module")
def store(folder):
    return viewer.watched(folder)


def test_texts_arrive_as_they_are_and_long_ones_are_cut_apart(serve, store):
    server = serve(store)
    status, _, answer = server.ask("api/rows.json", {"limit": 1000})
    assert status == 200 and answer["total"] == 40
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    keys = [row["image_key"] for row in rows[: len(TEXTS)]]
    assert keys[:15] == TEXTS[:15]
    assert all(len(key) < 1200 for key in keys) and len(set(keys)) == len(TEXTS), "long keys that differ stay different"
    assert [row["error"] for row in rows[20:35]] == [text or "" for text in TEXTS[:15]]
    assert {row["status"] for row in rows} == {"ok", "bad_image"}


def test_the_overview_stays_small(serve, store):
    status, _, content = serve(store).ask("api/stores.json")
    (found,) = content["stores"]
    assert status == 200 and found["rows"] == 40 and found["problem"] is None
    assert len(json.dumps(content)) < 400_000
    assert found["checks"][0]["passed"] is None and found["checks"][0]["name"] == "<b>"
    (parked,) = found["parked"]
    assert 19_000 < len(parked["traceback"]) < 21_000 and len(parked["error"]) < 1200
    assert max(len(name) for name in found["classes"]) < 1200
    assert len(found["failures"]) == len(TEXTS) and all(len(failure["error"] or "") < 1200 for failure in found["failures"])


def test_each_image_is_found_by_the_key_that_is_shown(serve, store):
    server = serve(store)
    for text in TEXTS:
        key = scored.cut(text)
        status, _, image = server.ask(f"api/image.json?store=0&shard=val-000000&key={quote(key, safe='')}")
        assert status == 200 and [row["image_key"] for row in image["rows"]] == [key]
        assert len(image["rows"][0]["adv_top5"]) == 20, "the classes of its own draws"
        assert server.ask("api/rows.json", {"where": [["image_key", "=", key]]})[2]["total"] == 1


def test_the_whole_key_reaches_what_reads_pictures(store):
    cell = store.content["cells"][0]["cell"]
    for text in TEXTS[-4:]:
        assert stored(store, cell, "val-000000", scored.cut(text), ["image_key"]) == {"image_key": text}
    assert stored(store, cell, "val-000000", LONG[:2000], ["image_key"]) is None


@pytest.mark.parametrize(
    "asked", ["errors.json?store=0&cell=CELL", "compare.json?first=0&second=0&first_cell=CELL&second_cell=CELL"]
)
def test_what_cannot_be_computed_is_one_line(serve, store, asked, capfd):
    """The key that is a NUL can have no draws: the transforms that were drawn are not known."""
    status, _, answer = serve(store).ask("api/" + asked.replace("CELL", store.content["cells"][0]["cell"]))
    said = answer["error"] if status == 400 else answer["problem"]
    assert "draws cannot be made again" in said and "NUL" in said and "\n" not in said and len(said) < 1000
    assert capfd.readouterr().err == ""


def test_anything_that_is_raised_is_one_line(serve, store, monkeypatch, capfd):
    def fail(*names):
        raise RuntimeError(f"\x1b[2J{LONG}")

    monkeypatch.setattr(neighbours, "errors", fail)
    status, _, answer = serve(store).ask("api/errors.json?store=0&cell=any")
    assert status == 500 and answer["error"].startswith("this cannot be answered: RuntimeError: ")
    assert len(answer["error"]) < 1000 and capfd.readouterr().err == ""


def test_texts_are_searched_as_texts(store):
    for part, count in (("<SCRIPT>", 1), ("drop table", 1), ("\x1b", 1), ("etc/passwd", 1), ("%", 1), ("\u202e", 1)):
        asked = queries.parsed({"where": [["image_key", "contains", part]]}, list(RULES))
        assert store.database.answer(asked)["total"] == count, part


def test_groups_of_hostile_texts_are_groups(store):
    asked = queries.parsed({"group": ["error"], "limit": 1000}, list(RULES))
    found = store.database.answer(asked)
    assert found["total"] == len(TEXTS) + 1, "an empty error is one too, and none is another"
    assert sum(row[1] for row in found["rows"]) == 40 - len(TEXTS)


def test_a_store_that_lies_about_its_cell_is_refused(folder, tmp_path):
    """Rows of a file of one cell that say they are of another."""
    job = synthetic.store(tmp_path / "store", synthetic.campaign([0, 2], {"a": {"eps": "1/255", "steps": 1}}), 10, 10)
    (path, _) = sorted(Path(job.store, "results").iterdir())
    unit = path.stem
    cell = next(cell for cell in job.campaign.grid() if unit.startswith(f"{cell.name}--"))
    found = synthetic.table(cell, Unit(cell.name, "val-000000", 0, 10), 10).to_pylist()
    for row in found:
        row["cell"] = "resnet50-none-b"
    path.unlink()
    assert Store(job.store).create(f"results/{path.name}", schema.encode(found, {}))
    content = viewer.watched(job.store).content
    assert "holds rows of the cell resnet50-none-b" in content["problem"] and content["rows"] == 10
