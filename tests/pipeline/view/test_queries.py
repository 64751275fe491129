"""What the page asks of rows, against pandas over the frames of notebooks; and everything that is no query."""

import random

import numpy as np
import pytest

from pipeline import analysis
from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view.rows import queries
from pipeline.view.rows.columns import COLUMNS, NUMBER, OUTCOMES, TEXT
from tests.support.stores.viewer import watched

RULE_NAMES = list(RULES.builtin)


def ask(store, **query):
    return store.database.answer(queries.parsed(query, RULE_NAMES))


@pytest.fixture(scope="module")
def every(read):
    """All rows by rule and top, as lists of mappings in the order of the store."""
    found = {}
    for rule in RULE_NAMES:
        for top in (1, 5):
            answer = ask(read, rule=rule, top=top, limit=1000)
            found[rule, top] = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
            assert answer["total"] == len(found[rule, top]) == 594 and answer["columns"] == list(COLUMNS)
    return found


def test_every_row_is_what_notebooks_read(read, half, every):
    kept = ("cell", "label", "target", "model", "defense", "k", "attack", "norm", "eps", "evaluation_draws", "status", "linf",
            "l2", "first_break", "grad_evals", "forward_evals", "seconds")  # fmt: skip
    for (rule, top), rows in every.items():
        frame = analysis.scores(str(half), rule, top).astype({"shard": str, "image_key": str, "cell": str})
        known = {(row["cell"], row["shard"], row["image_key"]): row for row in frame.to_dict("records")}
        assert len(known) == len(rows)
        for row in rows:
            other = known[row["cell"], row["shard"], row["image_key"]]
            for name in (*kept, "clean", "adv"):
                same = row[name] == other[name] or (row[name] is None and (other[name] is None or other[name] != other[name]))
                assert same or str(other[name]) == "<NA>", (name, row[name], other[name])


def test_outcomes_and_names_of_classes_follow_from_the_row(every):
    for rows in every.values():
        assert {row["outcome"] for row in rows} <= OUTCOMES.keys()
        for row in rows:
            right = {side: row[side] is not None and row[side] > 0.5 for side in ("clean", "adv")}
            expected = "failed" if row["status"] != "ok" else "wrong" if not right["clean"] else "broken"
            assert row["outcome"] == ("survived" if expected == "broken" and right["adv"] else expected)
            for name in ("label", "clean_class", "adv_class"):
                assert row[f"{name}_name"] == (f"class {row[name]}" if row[name] is not None and row[name] < 900 else None)
    assert len({row["outcome"] for row in every["single", 1]}) == 4, "the store has all of them"


OPERATORS = {
    "=": lambda a, b: a is not None and a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and a < b,
    "<=": lambda a, b: a is not None and a <= b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
    "in": lambda a, b: a is not None and a in b,
    "contains": lambda a, b: a is not None and b.lower() in a.lower(),
    "null": lambda a, b: a is None,
    "notnull": lambda a, b: a is not None,
}


def condition(rows, rng):
    name = rng.choice(list(COLUMNS))
    known = [row[name] for row in rows if row[name] is not None]
    operators = [op for op in OPERATORS if op != "contains" or COLUMNS[name].kind == TEXT]
    operator = rng.choice(operators if known else ["null", "notnull"])
    if operator in ("null", "notnull"):
        return [name, operator]
    if operator == "in":
        return [name, operator, rng.sample(known, min(len(known), rng.randrange(4)))]
    value = rng.choice(known)
    return [name, operator, value[1:6].upper() if operator == "contains" else value]


@pytest.mark.parametrize("seed", range(60))
def test_random_queries_are_answered_as_by_hand(read, every, seed):
    rng = random.Random(seed)
    rule, top = rng.choice(list(every))
    rows = every[rule, top]
    where = [condition(rows, rng) for _ in range(rng.randrange(4))]
    kept = [row for row in rows if all(OPERATORS[op](row[name], *(value or [None])) for name, op, *value in where)]
    sort = [[name, rng.choice(["asc", "desc"])] for name in rng.sample(list(COLUMNS), rng.randrange(3))]
    for name, direction in reversed(sort):
        there = [row for row in kept if row[name] is not None]
        there = sorted(there, key=lambda row, name=name: row[name], reverse=direction == "desc")
        if direction == "desc":  # a stable order: ties as they were
            there = sorted([row for row in kept if row[name] is not None], key=lambda row, name=name: _falling(row[name]))
        kept = there + [row for row in kept if row[name] is None]
    columns, offset, limit = rng.sample(list(COLUMNS), 5), rng.randrange(40), rng.randrange(60)
    found = ask(read, rule=rule, top=top, where=where, sort=sort, columns=columns, offset=offset, limit=limit)
    assert found["total"] == len(kept) and found["columns"] == columns
    assert [list(row) for row in found["rows"]] == [[row[name] for name in columns] for row in kept[offset : offset + limit]]


class _falling:
    """Orders values from the greatest to the least."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return self.value > other.value


@pytest.mark.parametrize("seed", range(20))
def test_groups_hold_the_means_and_counts_of_their_rows(read, every, seed):
    rng = random.Random(seed)
    rule, top = rng.choice(list(every))
    group = rng.sample(
        ["cell", "label", "label_name", "outcome", "shard", "k", "status", "target", "clean"], rng.randrange(1, 4)
    )
    by, direction = rng.choice([*group, "images", "adv", "failed"]), rng.choice(["asc", "desc"])
    found = ask(read, rule=rule, top=top, group=group, sort=[[by, direction]], limit=1000)
    assert found["columns"] == [*group, *queries.FIGURES]
    expected = {}
    for row in every[rule, top]:
        expected.setdefault(tuple(row[name] for name in group), []).append(row)
    assert found["total"] == len(expected) and len(found["rows"]) == min(1000, len(expected))
    for line in found["rows"]:
        rows = expected[tuple(line[: len(group)])]
        good = [row for row in rows if row["status"] == "ok"]
        images, clean, adv, *counts = line[len(group) :]
        assert images == len(good)
        assert (clean, adv) == pytest.approx(tuple(np.mean([r[s] for r in good]) if good else None for s in ("clean", "adv")))
        assert counts == [sum(row["outcome"] == name for row in rows) for name in ("failed", "survived", "broken")]
    values = [line[found["columns"].index(by)] for line in found["rows"]]
    there = [value for value in values if value is not None]
    assert there == sorted(there, reverse=direction == "desc") and values[len(there) :] == [None] * (len(values) - len(there))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ([], "a query is an object"),
        ({"sql": "DROP TABLE rows"}, "has no key 'sql'"),
        ({"rule": "best"}, "rule 'best'"),
        ({"rule": ["single"]}, "rule ['single']"),
        ({"rule": 'single_1", (SELECT 1), "'}, "expected one of single"),
        ({"top": 2}, "top 2"),
        ({"top": True}, "top True"),
        ({"where": [["place", ">", 0]]}, "column 'place'"),
        ({"where": [["1=1; DROP TABLE rows", "=", 1]]}, "expected one of cell"),
        ({"where": [["k", "OR 1=1", 1]]}, "operator 'OR 1=1'"),
        ({"where": [["k", "=", "5"]]}, "expected a number"),
        ({"where": [["k", "=", True]]}, "expected a number"),
        ({"where": [["k", "=", None]]}, "expected a number"),
        ({"where": [["k", "=", 10**400]]}, "expected a number"),
        ({"where": [["cell", "=", 5]]}, "expected a text"),
        ({"where": [["cell", "=", None]]}, "the operator null"),
        ({"where": [["k", "contains", "1"]]}, "it holds numbers"),
        ({"where": [["k", "in", 5]]}, "expected a list"),
        ({"where": [["k", "in", [1] * 1001]]}, "at most 1,000"),
        ({"where": [["k"]]}, "expected [column, operator, value]"),
        ({"where": {"k": 1}}, "expected a list"),
        ({"where": [["k", "=", 1]] * 1001}, "expected a list of at most 1,000"),
        ({"sort": [["k", "up"]]}, '"desc"'),
        ({"sort": ["k"]}, '"desc"'),
        ({"sort": [[["k"], "asc"]]}, "expected one of cell"),
        ({"group": ["nothing"]}, "column 'nothing'"),
        ({"group": ["cell"], "sort": [["label", "asc"]]}, "expected one of cell, images"),
        ({"columns": ["nothing"]}, "column 'nothing'"),
        ({"limit": 1001}, "from 0 to 1,000"),
        ({"limit": 1.5}, "whole number"),
        ({"limit": True}, "whole number"),
        ({"offset": -1}, "whole number"),
        ({"store": 0}, "expected a text"),
    ],
)
def test_what_is_no_query_is_refused_in_one_line(query, said):
    with pytest.raises(BadInput) as refused:
        queries.parsed(query, RULE_NAMES)
    assert said in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 1500


def test_no_text_of_a_query_becomes_sql():
    """Every statement is made of the program's own words: whatever values come, the text is the same."""
    nasty = ["'; DROP TABLE rows; --", '"', "?", "\\", "{clean}", "\x00", "\ud800"]
    for operator in ("=", "!=", "contains", "in"):
        texts = set()
        for value in nasty:
            asked = queries.parsed({"where": [["image_key", operator, [value] if operator == "in" else value]]}, RULE_NAMES)
            texts |= {queries.of_page(asked).text, queries.of_total(asked).text}
        assert len(texts) == 2


def test_odd_values_are_only_values(read):
    for value in ("'; DROP TABLE rows; --", '"', "\x00", "\ud800", "%", "_", "x" * 100_000):
        for operator in ("=", "contains"):
            assert ask(read, where=[["image_key", operator, value]])["total"] == 0
    assert ask(read, where=[["label", "=", 1e300]])["total"] == 0 == ask(read, where=[["label", "in", []]])["total"]
    assert ask(read, limit=0)["total"] == 594 and ask(read, offset=10**9)["rows"] == []


def test_the_database_reads_nothing_else(read, tmp_path):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    read_, write = f"SELECT * FROM read_csv('{tmp_path}/secret.csv')", f"COPY rows TO '{tmp_path}/out.csv'"
    for statement in (read_, write, "SET threads = 1", "INSTALL httpfs", f"ATTACH '{tmp_path}/new.db' AS other"):
        with pytest.raises(Exception, match="disabled|locked|lock|denied|not allowed|Permission"):
            read.database.table(statement)
    assert {path.name for path in tmp_path.iterdir()} == {"secret.csv"}


def test_numbers_are_numbers_and_texts_texts(every):
    for row in every["single", 1]:
        for name, value in row.items():
            assert value is None or isinstance(value, str if COLUMNS[name].kind == TEXT else int | float), name
    assert {column.kind for column in COLUMNS.values()} == {TEXT, NUMBER}


def test_a_store_is_watched_alone(half):
    """Each store has a database of its own."""
    assert ask(watched(half, refreshed=False))["total"] == 0
