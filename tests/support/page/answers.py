"""Answer what the page asks of a synthetic store: queries by DuckDB, images, draws, a comparison, errors."""

import hashlib
import math

import duckdb
import numpy as np

from tests.support.page.store import CLASSES, PARTS, rate

OPS = {"=": "{} = ?", "!=": "{} is distinct from ?", "<": "{} < ?", "<=": "{} <= ?", ">": "{} > ?", ">=": "{} >= ?",
       "contains": "contains(lower({}), lower(?))"}  # fmt: skip
TOTALS = ("images", "clean", "adv", "failed", "survived", "broken")


def connected(rows):
    """A database whose table `rows` holds these rows, numbered by `place`."""
    database = duckdb.connect(":memory:", config={"threads": 1})
    database.register("given", rows)
    database.execute("CREATE TABLE rows AS SELECT *, row_number() OVER () AS place FROM given")
    return database


def answer(database, asked):
    """The answer to a query, as docs of the page describe it."""
    rule, top = asked.get("rule", "single"), asked.get("top", 1)
    source = (
        f"(SELECT *, \"clean_{rule}_{top}\" AS clean, \"adv_{rule}_{top}\" AS adv, CASE WHEN status <> 'ok' THEN 'failed' "
        f"WHEN \"clean_{rule}_{top}\" > 0.5 THEN CASE WHEN \"adv_{rule}_{top}\" > 0.5 THEN 'survived' ELSE 'broken' END "
        "ELSE 'wrong' END AS outcome FROM rows)"
    )
    values, clauses = [], []
    for name, op, value in asked.get("where", []):
        if op in ("null", "notnull"):
            clauses.append(f'"{name}" IS {"NOT " if op == "notnull" else ""}NULL')
        elif op == "in":
            clauses.append(f'"{name}" IN ({", ".join("?" * len(value))})' if value else "false")
            values += value
        else:
            clauses.append(OPS[op].format(f'"{name}"'))
            values.append(value)
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    order = [f'"{name}" {direction} NULLS LAST' for name, direction in asked.get("sort", [])]
    if group := asked.get("group"):
        names = ", ".join(f'"{name}"' for name in group)
        counts = ", ".join(f"count(*) FILTER (outcome = '{name}') AS {name}" for name in TOTALS[3:])
        figures = f"count(*) FILTER (status = 'ok') AS images, avg(clean) AS clean, avg(adv) AS adv, {counts}"
        source = f"(SELECT {names}, {figures} FROM {source}{where} GROUP BY ALL)"
        where, order, columns = "", [*order, *(f'"{name}" ASC NULLS LAST' for name in group)], [*group, *TOTALS]
    else:
        order, columns = [*order, "place"], asked.get("columns") or ["image_key", "cell", "shard", "clean", "adv", "outcome"]
    total = database.execute(f"SELECT count(*) FROM {source}{where}", values).fetchone()[0]
    selected = ", ".join(f'"{name}"' for name in columns)
    text = f"SELECT {selected} FROM {source}{where} ORDER BY {', '.join(order)} LIMIT ? OFFSET ?"
    rows = database.execute(text, [*values, min(asked.get("limit", 100), 1000), asked.get("offset", 0)]).fetchall()
    return {"total": total, "columns": columns, "rows": [[_plain(value) for value in row] for row in rows]}


def _plain(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def image(store, database, shard, key):
    """The rows of an image in every cell, with the lists of classes of each draw."""
    names = [name for name in store.rows.column_names if not name.endswith(("_1", "_5"))]
    asked = {"where": [["shard", "=", shard], ["image_key", "=", key]], "columns": [*names, "clean", "adv", "outcome"]}
    found = answer(database, asked)
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    for row in rows:
        for side in ("clean", "adv"):
            row[f"{side}_top5"] = [draw["classes"] for draw in _draws(row, side)] if row["status"] == "ok" else None
    return {"rows": rows, "label_name": rows[0]["label_name"] if rows else None, "names": dict(enumerate(CLASSES))}


def _draws(row, side):
    seed = hashlib.sha256(f"{row['cell']}{row['image_key']}{side}".encode()).digest()[:8]
    rng, label = np.random.default_rng(list(seed)), row["label"]
    right = round(row[side] * row["evaluation_draws"])
    for draw in range(row["evaluation_draws"]):
        first = label if draw < right else (label + int(rng.integers(1, 4))) % len(CLASSES)
        classes = [first, *(one for one in rng.permutation(len(CLASSES)).tolist() if one != first)][:5]
        parts = [PARTS[i] for i in rng.permutation(len(PARTS))[: row["k"]]]
        yield {
            "draw": draw,
            "classes": classes,
            "names": [CLASSES[i] for i in classes],
            "right": first == label,
            "parts": parts,
        }


def draws(store, database, cell, shard, key):
    """What each draw of the defense makes of an image."""
    row = next(row for row in image(store, database, shard, key)["rows"] if row["cell"] == cell)
    return {"magnified": 12.0, "problem": None, "clean": list(_draws(row, "clean")), "adversarial": list(_draws(row, "adv"))}


def compare(first, first_cell, second, second_cell, rule, top):
    """The paired comparison of two cells, first and second synthetic stores."""
    if first.seed != second.seed:
        return {
            "problem": "the stores hold other images under the same keys: shapes-000000.tar has SHA-256 12ab… and 9f00…",
            "images": 0,
        }
    one, two = first.rows_of(first_cell), second.rows_of(second_cell)
    column = f"adv_{rule}_{top}"
    every = zip(one["shard"], one["image_key"], one["label"], one[column], two[column], strict=False)
    pairs = [pair for pair in every if None not in pair[3:]]
    a, b = np.array([p[3] for p in pairs]), np.array([p[4] for p in pairs])
    fields = {
        "both": (a > 0.5) & (b > 0.5),
        "first_only": (a > 0.5) & (b <= 0.5),
        "second_only": (a <= 0.5) & (b > 0.5),
        "neither": (a <= 0.5) & (b <= 0.5),
    }
    counts = {name: int(mask.sum()) for name, mask in fields.items()}
    classes = [
        {"label": i, "name": CLASSES[i], **_difference(a[[p[2] == i for p in pairs]], b[[p[2] == i for p in pairs]])}
        for i in range(len(CLASSES))
    ]
    parts = [{"part": part, **_difference(np.roll(a, i)[:90], np.roll(b, i)[:90])} for i, part in enumerate(PARTS)]

    def side(rows):
        value, low, high = rate(rows[column])
        clean = dict(zip(("clean_rate", "clean_low", "clean_high"), rate(rows[f"clean_{rule}_{top}"]), strict=True))
        return clean | {
            "rate": value,
            "low": low,
            "high": high,
            "cost": float(np.mean([v for v in rows["grad_evals"] if v is not None])),
        }

    return {
        "problem": None, **_difference(a, b), "first": side(one), "second": side(two),
        "p_value": 0.003, "test": "exact sign-flip test",
        "table": [[counts["both"], counts["first_only"]], [counts["second_only"], counts["neither"]]],
        "changed": {name: [[pairs[i][0], pairs[i][1]] for i in np.flatnonzero(mask)[:1000]] for name, mask in fields.items()},
        "clean": _difference(a * 0 + 0.9, b * 0 + 0.88) | {"p_value": 0.3, "test": "exact sign-flip test"},
        "settings": [{"name": "attack.steps", "first": 40, "second": 100},
                     {"name": "attack.kind", "first": "pgd", "second": "aggmo"}],
        "classes": classes, "parts": parts, "warnings": ["the attacks differ in steps: 40 and 100"],
    }  # fmt: skip


def _difference(a, b):
    value, half = float((a - b).mean()), 1.96 * float((a - b).std()) / max(1, len(a)) ** 0.5
    return {
        "images": len(a),
        "first": float(a.mean()),
        "second": float(b.mean()),
        "difference": value,
        "low": value - half,
        "high": value + half,
    }


def errors(store, cell, rule, top):
    """Where a cell errs."""
    rows, others = store.rows_of(cell), {c["cell"]: store.rows_of(c["cell"]) for c in store.cells if c["defense"] in cell}
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    for label, seen in zip(rows["label"], rows["adv_class"], strict=True):
        if seen is not None:
            counts[label, seen] += 1
    rng = np.random.default_rng(3)
    parts = [{"part": part, "draws": 900, "right_with": 0.3 + d, "right_without": 0.3, "difference": d, "low": d - 0.03,
              "high": d + 0.03} for part, d in zip(PARTS, rng.normal(0, 0.06, len(PARTS)).tolist(), strict=True)]  # fmt: skip
    right = {name: [None if v is None else v > 0.5 for v in found[f"adv_{rule}_{top}"]] for name, found in others.items()}
    share = [[float(np.mean([x == y for x, y in zip(p, q, strict=True)])) for q in right.values()] for p in right.values()]
    margins, values = (
        [],
        [(m, v) for m, v in zip(rows["clean_margin"], rows[f"adv_{rule}_{top}"], strict=True) if m is not None],
    )
    for low, high in zip(np.arange(-0.5, 3, 0.5).tolist(), np.arange(0, 3.5, 0.5).tolist(), strict=True):
        inside = [v for m, v in values if low <= m < high]
        value, bottom, ceiling = rate(inside)
        margins.append({"low": low, "high": high, "images": len(inside), "adv": value, "adv_low": bottom, "adv_high": ceiling})
    classes = []
    for label, name in enumerate(CLASSES):
        own = [i for i, one in enumerate(rows["label"]) if one == label]
        line = {"label": label, "name": name, "images": len(own)}
        for side in ("clean", "adv"):
            found = rate([rows[f"{side}_{rule}_{top}"][i] for i in own])
            line |= dict(zip((side, f"{side}_low", f"{side}_high"), found, strict=True))
        classes.append(line)
    keys = list(zip(rows["shard"], rows["image_key"], strict=True))
    always = [key for i, key in enumerate(keys) if not any(found[i] for found in right.values())]
    never = [key for i, key in enumerate(keys) if all(found[i] for found in right.values())]
    return {
        "confusion": {"classes": list(range(len(CLASSES))), "names": list(CLASSES), "counts": counts.tolist()},
        "parts": parts if "none" not in cell else [], "margins": margins, "classes": classes,
        "agreement": {"cells": list(right), "share": share},
        "gradients": [{"cell": name, "zero": 0.0, "nonfinite": 0.0, "norm_median": 0.01, "norm_low": 0.004, "norm_high": 0.03,
                       "blind": 0} for name in right],
        "always_broken": {"images": len(always), "of": len(keys), "examples": always[:100]},
        "never_broken": {"images": len(never), "of": len(keys), "examples": never[:100]},
    }  # fmt: skip
