"""Tables: a function of rows. Every decision rule, clean and attacked, with intervals over images."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.intervals import Rate, rate

Row = Mapping[str, Any]


def _single(row: Row, side: str, top: int) -> float:
    """The share of draws that are right: what one draw is expected to say."""
    right = row[f"{side}_correct"] if top == 1 else row[f"{side}_top5_correct"]
    return right / row["evaluation_draws"]


def _vote(row: Row, side: str, top: int) -> float:
    """Whether the label is among the `top` classes with the most votes, each draw voting for its own first `top`.

    Ties go to the class that draws rank higher, then to the one met first.
    """
    votes: Counter[int] = Counter()
    for draw in row[f"{side}_top5"]:
        for rank, label in enumerate(draw[:top]):
            votes[label] += 1000 - rank  # one vote outweighs every rank
    return float(row["label"] in [label for label, _ in votes.most_common(top)])


def _mean(row: Row, side: str, top: int) -> float:
    """Whether the label is among the `top` classes of the mean probability over draws."""
    return float(row["label"] in row[f"{side}_mean_top5"][:top])


def _persistent(row: Row, side: str, top: int) -> float:
    """Whether every draw is right: an attacker who may ask again needs only one that is not."""
    return float(_single(row, side, top) == 1)


RULES: dict[str, Callable[[Row, str, int], float]] = {
    "single": _single,
    "vote": _vote,
    "mean": _mean,
    "persistent": _persistent,
}
"""Decision rules by name: (row, "clean" or "adv", 1 or 5) -> how right the image is, in [0, 1]."""

COLUMNS = (
    "image_key", "cell", "model", "defense", "attack", "k", "eps", "label", "target", "status", "evaluation_draws",
    "clean_top5", "adv_top5", "clean_mean_top5", "adv_mean_top5", "clean_correct", "adv_correct",
    "clean_top5_correct", "adv_top5_correct", "target_hits", "first_break", "grad_evals", "forward_evals", "seconds",
)  # fmt: skip
"""The columns that tables need."""


@dataclass(frozen=True)
class Scope:
    """What a cell was to hold: all its images, and whether a stop rule ended it before."""

    images: int
    stopped: bool = False


@dataclass(frozen=True)
class Line:
    """One cell under one decision rule. `images` are in every denominator, `skipped` ones too; `failed` ones in none.
    `planned` is how many the campaign asks for, None where nobody said; `stopped` that a stop rule ended the cell before."""

    cell: str
    rule: str
    images: int
    planned: int | None
    stopped: bool
    failed: int
    skipped: int
    clean_top1: Rate | None
    adv_top1: Rate | None
    clean_top5: Rate | None
    adv_top5: Rate | None
    target_hits: Rate | None
    draw_gradients: int
    seconds: float


def lines(table: pa.Table, rules: Iterable[str] = ("single",), scopes: Mapping[str, Scope] | None = None) -> list[Line]:
    """One line per cell and rule, cells in order of their name; `scopes` by cell say what is missing and why."""
    cells: dict[str, list[Row]] = defaultdict(list)
    for row in table.select(list(COLUMNS)).to_pylist():
        cells[row["cell"]].append(row)
    named = sorted(cells, key=_natural(cells))
    return [_line(name, rule, cells[name], (scopes or {}).get(name)) for name in named for rule in rules]


def _natural(cells: Mapping[str, list[Row]]) -> Callable[[str], tuple[Any, ...]]:
    """By model, k, attack: k = 10 after k = 5."""
    return lambda name: (cells[name][0]["model"], cells[name][0]["k"], cells[name][0]["attack"], name)


def _line(cell: str, rule: str, found: list[Row], scope: Scope | None) -> Line:
    good, judge = [row for row in found if row["status"] == "ok"], RULES[rule]

    def accuracy(side: str, top: int) -> Rate | None:
        return rate([judge(row, side, top) for row in good])

    return Line(
        cell=cell,
        rule=rule,
        images=len(good),
        planned=scope.images if scope else None,
        stopped=scope is not None and scope.stopped,
        failed=len(found) - len(good),
        skipped=sum(row["first_break"] == 0 for row in good),
        clean_top1=accuracy("clean", 1),
        adv_top1=accuracy("adv", 1),
        clean_top5=accuracy("clean", 5),
        adv_top5=accuracy("adv", 5),
        target_hits=rate([r["target_hits"] / r["evaluation_draws"] for r in good if r["target_hits"] is not None]),
        draw_gradients=sum(row["grad_evals"] for row in found),
        seconds=sum(row["seconds"] for row in found),
    )


def worst_case(table: pa.Table, rule: str = "single") -> dict[tuple[str, str], Rate | None]:
    """Top-1 of each (model, defense) under the attack that is worst for each image: the mean over images of the minimum."""
    least: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in table.select(list(COLUMNS)).to_pylist():
        if row["status"] == "ok":
            of = least[row["model"], row["defense"]]
            of[row["image_key"]] = min(of.get(row["image_key"], 1.0), RULES[rule](row, "adv", 1))
    return {pair: rate(list(values.values())) for pair, values in least.items()}


HEAD = ("cell", "rule", "images", "clean top-1", "attacked top-1", "clean top-5", "attacked top-5", "target hit", "cost")


def cells(line: Line, text: Callable[[Rate], str] = str) -> list[str]:
    """A line as text, in the order of HEAD; `text` writes a rate."""
    rates = (line.clean_top1, line.adv_top1, line.clean_top5, line.adv_top5, line.target_hits)
    images = str(line.images)
    if line.planned is not None and line.planned > line.images + line.failed:
        images += f" of {line.planned}, {'stopped' if line.stopped else 'so far'}"
    images += f" + {line.failed} failed" if line.failed else ""
    images += f", {line.skipped} skipped" if line.skipped else ""
    cost = f"{line.draw_gradients:,} in {line.seconds / 60:.1f} min"
    return [line.cell, line.rule, images, *("" if r is None else text(r) for r in rates), cost]


def notes(found: Iterable[Line]) -> list[str]:
    """What a reader of these lines has to know, one sentence each."""
    found = list(found)
    said = []
    if any(line.planned not in (None, line.images + line.failed) for line in found):
        said.append("n of N: not all images are done yet")
    if any(line.failed for line in found):
        said.append("failed: images that could not be read, in no rate")
    if any(line.skipped for line in found):
        said.append(
            "skipped: misclassified without an attack, so none was spent (skip_misclassified); in every rate, with the image "
            "itself as the example: exact for the attacked top-1 of that rule, an upper bound for other rules and for top-5"
        )
    return said


def markdown(found: Iterable[Line]) -> str:
    found = list(found)
    body = [cells(line) for line in found]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (list(HEAD), ["---"] * len(HEAD), *body))
    return "\n\n".join([table, *notes(found)])


def as_dict(line: Line) -> dict[str, Any]:
    """A line as plain values: rates in [0, 1] with the ends of their intervals, None where there is none."""
    out: dict[str, Any] = {}
    for name, value in vars(line).items():
        if name in ("clean_top1", "adv_top1", "clean_top5", "adv_top5", "target_hits"):
            parts = (value.value, value.low, value.high) if value else (None, None, None)
            out |= dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))
        else:
            out[name] = value
    return out


def to_json(found: Iterable[Line]) -> str:
    return json.dumps([as_dict(line) for line in found], indent=1)
