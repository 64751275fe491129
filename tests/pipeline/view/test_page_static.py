"""The static export from file://: every view without a server, and its query engine against DuckDB."""

import base64
import io
import json
import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.view.page import files
from tests.support.page import answers
from tests.support.page.exported import chunk, export
from tests.support.page.opened import opened
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic

TEXTS = [
    "",
    "a",
    "A",
    "aB",
    "b",
    "ß",
    "É",
    "é",
    "İ",
    "i",
    "ΑΣ",
    "ας",
    "\uffff",
    "\U0001f600",
    "\U0001f600a",
    "%_",
    "a\nb",
    "'",
    None,
]
NUMBERS = [None, 0, 1, 2, 2, 3, -1, 10]


@pytest.fixture(scope="module")
def store():
    return Synthetic(images=60)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, store):
    return export(tmp_path_factory.mktemp("export"), store, 2).as_uri()


FRAGMENTS = {
    "overview": "#/overview", "groups": "#/table?group=%5B%22label_name%22%5D",
    "table": "#/table?rule=persistent&sort=%5B%5B%22l2%22%2C%22desc%22%5D%5D",
    "curves": "#/curves", "images": "#/images?cell=tiny-none-pgd", "compare": "#/compare", "errors": "#/errors",
}  # fmt: skip


@pytest.mark.parametrize("view", list(FRAGMENTS))
def test_a_view_works_from_a_file_and_shows_what_the_server_shows(browser, exported, store, view):
    found = []
    with served(Pretended([store])) as live:
        for address in (exported, live):
            with opened(browser, address + FRAGMENTS[view]) as (page, seen):
                rows = page.evaluate(
                    "[...document.querySelectorAll('.ag-row')].map((row) => row.innerText).sort().slice(0, 10)"
                )
                found.append((page.inner_text("main"), rows))
                assert not seen
    assert found[0] == found[1]


def test_pictures_come_from_files_and_what_is_not_exported_is_reported(browser, exported):
    with opened(browser, exported + "#/images?cell=tiny-bart5-pgd") as (page, seen):
        assert (
            page.evaluate(
                "[...document.querySelectorAll('.trio img')].map((one) => [one.naturalWidth, one.src.startsWith('file:')])"
            )
            == [[96, True]] * 3
        )
        assert not seen
    context = browser.new_context()
    page = context.new_page()
    page.goto(exported + "#/errors?cell=tiny-bart8-pgd")
    said = "this export holds no errors of tiny-bart8-pgd under the rule single, top-1"
    page.wait_for_selector(f"[role=alert]:has-text('{said}')")
    page.goto(exported + "#/images?cell=tiny-bart5-pgd&outcome=broken&at=5")
    page.wait_for_selector(".trio .picture.none:has-text('not in the export')")
    context.close()


@pytest.fixture(scope="module")
def engine(browser, tmp_path_factory, store):
    """Return functions that answer a query: in the page, and by DuckDB, on rows with odd texts, nulls and equal values."""
    rng, table = random.Random(5), store.rows.slice(0, 400)
    odd = {
        "image_key": pa.array([rng.choice(TEXTS) for _ in range(400)]),
        "error": pa.array([rng.choice(TEXTS) for _ in range(400)]),
        "l2": pa.array([rng.choice([*NUMBERS, 0.1, 1e300, 5e-324]) for _ in range(400)], pa.float64()),
        "first_break": pa.array([rng.choice(NUMBERS) for _ in range(400)], pa.int32()),
        "grad_evals": pa.array([rng.choice([*NUMBERS, 2**40]) for _ in range(400)], pa.int64()),
    }  # fmt: skip
    for name, values in odd.items():
        table = table.set_column(table.column_names.index(name), name, values)
    folder = tmp_path_factory.mktemp("engine")
    for name, content in files(live=False).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", row_group_size=150)
    (folder / "data").mkdir()
    stores = {
        "live": False,
        "version": "0",
        "rules": ["single"],
        "rule_texts": {},
        "revision": 1,
        "stores": [],
        "static": {"rows": {"0": "rows-0"}},
    }
    for name, value in {"stores": stores, "rows-0": base64.b64encode(buffer.getvalue()).decode()}.items():
        (folder / "data" / f"{name}.js").write_text(f"view.data({json.dumps(name)}, {json.dumps(value)})")
    database, context = answers.connected(table), browser.new_context()
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    page.evaluate("window.source = view.static()")
    yield (
        lambda asked: page.evaluate("asked => source.rows(asked)", {"store": "0", **asked}),
        lambda asked: answers.answer(database, asked),
    )
    context.close()


COLUMNS = {
    "image_key": TEXTS[:-1], "error": TEXTS[:-1],
    "cell": ["tiny-none-pgd", "none", "PGD", "tiny-bart3-pgd"], "outcome": ["failed", "wrong", "broken", "survived"],
    "l2": [0, 1, 2, 0.1, 3.5], "first_break": [0, 1, 2.5, 10], "grad_evals": [2, 2**40],
    "adv": [0, 0.5, 0.05, 1], "clean": [0, 0.5, 1], "label": [0, 3, 7],
}  # fmt: skip


def clause(rng):
    name = rng.choice(list(COLUMNS))
    text = isinstance(COLUMNS[name][0], str)
    op = rng.choice(["=", "!=", "<", "<=", ">", ">=", "in", "null", "notnull", *(["contains"] * 3 if text else [])])
    value = (
        rng.choices(COLUMNS[name], k=rng.randrange(4)) if op == "in" else None if "null" in op else rng.choice(COLUMNS[name])
    )
    return [name, op, value]


def query(rng):
    group = rng.sample(list(COLUMNS), rng.choice([1, 1, 2])) if rng.random() < 0.35 else []
    names = [*group, *answers.TOTALS] if group else list(COLUMNS)
    sort = [[name, rng.choice(["asc", "desc"])] for name in rng.sample(names, rng.choice([0, 1, 1, 2]))]
    if group and any(name in group for name in ("clean", "adv")):
        sort = []  # two columns of one name
    return {
        "rule": rng.choice(["single", "persistent"]), "top": rng.choice([1, 5]), "sort": sort, "group": group,
        "where": [clause(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))],
        "columns": None if group else rng.sample(list(COLUMNS), 4),
        "offset": rng.choice([0, 0, 7, 1000]), "limit": rng.choice([1, 50, 1000]),
    }  # fmt: skip


def close(one, two):
    return math.isclose(one, two, rel_tol=1e-12) if isinstance(one, float) and isinstance(two, float | int) else one == two


def test_the_engine_of_the_page_answers_as_duckdb(engine):
    page, database = engine
    rng, full = random.Random(11), 0
    for _ in range(400):
        asked = query(rng)
        if asked["group"] and {"clean", "adv"} & set(asked["group"]):
            continue  # these names are figures of a group too
        one, two = page(asked), database(asked)
        assert (one["total"], one["columns"]) == (two["total"], two["columns"]), asked
        assert len(one["rows"]) == len(two["rows"]), asked
        for x, y in zip(one["rows"], two["rows"], strict=True):
            assert all(map(close, x, y)), (asked, x, y)
        full += bool(one["rows"])
    assert full > 150, "most queries found nothing"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"where": [["nothing", "=", 1]]}, "there is no column nothing"),
        ({"where": [["clean_single_1", "=", 1]]}, "there is no column clean_single_1"),
        ({"where": [["l2", "=", "1"]]}, "must be a number"),
        ({"where": [["l2", "contains", "1"]]}, "columns of texts"),
        ({"where": [["cell", "like", "a"]]}, "a filter has one of"),
        ({"group": ["cell"], "sort": [["l2", "asc"]]}, "groups have no column l2"),
    ],
)
def test_the_engine_refuses_in_one_line(engine, asked, said):
    with pytest.raises(Exception, match=said):
        engine[0](asked)


def test_a_chunk_is_found_by_the_same_hash(browser, exported):
    names = ["shapes-000000.tar/disc-0001", "é/\U0001f600", "", "a" * 1000]
    context = browser.new_context()
    page = context.new_page()
    page.goto(exported)
    assert page.evaluate("names => names.map((name) => view.static().chunk(name, 97))", names) == [
        chunk(name, 97) for name in names
    ]
    assert chunk("foobar", 2**32) == 0xBF9CF968, "the published value of FNV-1a"
    context.close()
