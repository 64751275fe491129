"""Summarise rows as tables: one line for each cell and decision rule, clean and attacked, with intervals over images."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.parallel import map_ordered
from pipeline.scoring import blind
from pipeline.scoring.alike import alike
from pipeline.scoring.intervals import Rate, Sample
from pipeline.scoring.rules import RULES, Shares, attacked, column, one_word
from pipeline.scoring.rules import columns as rule_columns

_BASE = (
    "cell", "model", "attack", "k", "status", "evaluation_draws", "grad_evals", "seconds", "eps", "given_distance", "label",
    "smoothed_class", "certified_radius",
    *blind.COLUMNS,
)  # fmt: skip
"""Columns that tables need for every rule."""

RATES = {"clean_top1": ("clean", 1), "adv_top1": ("adv", 1), "clean_top5": ("clean", 5), "adv_top5": ("adv", 5)}
"""{accuracy of a line: (side, top) for the decision rule}."""


def columns(rules: Iterable[str]) -> list[str]:
    """Return the columns that tables need for these rules."""
    return list(dict.fromkeys([*_BASE, *rule_columns(rules)]))


LEVEL = 1 / 255
"""One level of 8 bits, in the unit of `eps`."""


@dataclass(frozen=True)
class Scope:
    """Say how many images a cell has in the campaign, and whether a stop rule ended it early."""

    images: int
    stopped: bool = False


@dataclass(frozen=True)
class Line:
    """Hold the figures of one cell under one decision rule.

    images          number of attacked and skipped images: the denominator of every rate
    planned         number of images in the campaign; None if unknown
    stopped         whether a stop rule ended the cell early
    failed          images that could not be attacked, in no rate
    skipped         images that were not attacked because the model was wrong already (skip_misclassified), in every rate
    moved           images whose example, made by others, was outside its ball and was moved into it, in every rate
    blind           images whose attack saw no gradient (`pipeline.scoring.blind`), in every rate
    certified       share of images whose certificate names the label with a radius of `eps` or more; None without certificates
    draw_gradients  total over all images
    seconds         device seconds, total over all images
    """

    cell: str
    rule: str
    images: int
    planned: int | None
    stopped: bool
    failed: int
    skipped: int
    moved: int
    blind: int
    clean_top1: Rate | None
    adv_top1: Rate | None
    clean_top5: Rate | None
    adv_top5: Rate | None
    target_hits: Rate | None
    certified: Rate | None
    draw_gradients: int
    seconds: float


@dataclass(frozen=True)
class Tally:
    """Hold sums over rows of one cell. Tallies of different rows can be added: what a reader keeps of rows that it has seen."""

    sort_key: tuple[Any, ...]
    """Model, k, attack, name: puts k = 10 after k = 5."""
    failed: int
    skipped: int
    moved: int
    blind: int
    draw_gradients: int
    seconds: float
    targets: Sample
    certified: Sample
    shares: dict[tuple[str, str], Sample]
    """{(rule, accuracy): sample}."""

    @property
    def images(self) -> int:
        """Return how many images were attacked or skipped."""
        return next(iter(self.shares.values())).images

    @classmethod
    def of(cls, rows: pa.Table, rules: Iterable[str]) -> "Tally":
        """Return the sums over rows of one cell."""
        good = attacked(rows)
        targeted = _with(good.select(["target_hits", "evaluation_draws"]), "target_hits")
        return cls(
            sort_key=tuple(rows[name][0].as_py() for name in ("model", "k", "attack", "cell")),
            failed=len(rows) - len(good),
            skipped=pc.sum(pc.equal(good["first_break"], 0)).as_py() or 0,
            moved=_moved(good),
            blind=blind_images(good),
            draw_gradients=pc.sum(rows["grad_evals"]).as_py() or 0,
            seconds=pc.sum(rows["seconds"]).as_py() or 0.0,
            targets=Sample.of(column(targeted, "target_hits") / column(targeted, "evaluation_draws")),
            certified=Sample.of(_certified(_with(good, "smoothed_class"))),
            shares=_shares(good, rules),
        )

    def __add__(self, other: "Tally") -> "Tally":
        """Return the sums over the rows of both."""
        summed = ("failed", "skipped", "moved", "blind", "draw_gradients", "seconds", "targets", "certified")
        sums = {name: getattr(self, name) + getattr(other, name) for name in summed}
        return Tally(self.sort_key, **sums, shares={key: own + other.shares[key] for key, own in self.shares.items()})

    def line(self, cell: str, rule: str, scope: Scope | None) -> Line:
        """Return the cell's line under one rule."""
        return Line(
            cell=cell,
            rule=rule,
            images=self.images,
            planned=scope.images if scope else None,
            stopped=scope is not None and scope.stopped,
            failed=self.failed,
            skipped=self.skipped,
            moved=self.moved,
            blind=self.blind,
            **{name: self.shares[rule, name].rate for name in RATES},
            target_hits=self.targets.rate,
            certified=self.certified.rate,
            draw_gradients=self.draw_gradients,
            seconds=self.seconds,
        )


def _shares(rows: pa.Table, rules: Iterable[str]) -> dict[tuple[str, str], Sample]:
    """Return the sample of each rule and accuracy of attacked rows. Rows alike in what rules read are scored once."""
    defined, found = {rule: RULES[rule] for rule in rules}, {}
    for side in ("clean", "adv"):
        read = {rule: [text.format(side) for text in known.columns] for rule, known in defined.items()}
        few, counts = alike(rows.select(list({name: None for names in read.values() for name in names})))
        for rule, names in read.items():
            whole = bool(names) and {*names} <= {*few.column_names}
            asked = few.select(names) if whole else rows.select(names)
            for name, (_, top) in ((name, of) for name, of in RATES.items() if of[0] == side):
                found[rule, name] = Sample.of(defined[rule].score(asked, side, top), counts if whole else None)
    return found


def _with(rows: pa.Table, name: str) -> pa.Table:
    """Return the rows in which a column is not null."""
    missing = rows[name].null_count
    return rows if not missing else rows.slice(0, 0) if missing == len(rows) else rows.filter(pc.is_valid(rows[name]))


def _moved(rows: pa.Table) -> int:
    """Return how many examples, made by others, were moved into their ball."""
    given = _with(rows.select(["given_distance", "eps"]), "given_distance")
    return int((column(given, "given_distance") > column(given, "eps") + LEVEL / 1000).sum())


def blind_images(rows: pa.Table) -> int:
    """Return for how many attacked images the attack was blind, from rows with `blind.COLUMNS`.

    A row without a bad gradient is not one of them.
    """
    counts = rows.select(["zero_gradients", "nonfinite_gradients"]).columns
    if not any(pc.max(count).as_py() for count in counts):
        return 0
    odd = pc.or_kleene(*(pc.greater(count, 0) for count in counts))
    some = rows.select(list(blind.COLUMNS)).filter(odd)
    return int(blind.blind({name: column(some, name) for name in blind.COLUMNS}).sum())


def _certified(rows: pa.Table) -> Shares:
    """Return 1 for rows whose certificate names the label with a radius of `eps` or more, else 0, (n,)."""
    right = column(rows, "smoothed_class") == column(rows, "label")
    return (right & (column(rows, "certified_radius") >= column(rows, "eps"))).astype(float)


def lines(
    rows: pa.Table | Iterable[pa.Table], rules: Iterable[str] = ("single",), scopes: Mapping[str, Scope] | None = None
) -> list[Line]:
    """Return one line for each cell and rule, sorted by model, k and attack.

    rows    a table of rows, or an iterator of tables, which is read once and need not fit in memory
    scopes  {cell: its scope}, to show what is missing
    """
    rules = list(rules)
    return lines_of(tallies([rows] if isinstance(rows, pa.Table) else rows, rules), rules, scopes)


def tallies(pieces: Iterable[pa.Table], rules: Iterable[str]) -> dict[str, Tally]:
    """Return {cell: sums over its rows} of tables of rows, which are read once and need not fit in memory."""
    rules, cells = list(rules), dict[str, Tally]()
    for some in map_ordered(lambda piece: tallied(piece, rules), pieces, os.cpu_count() or 1):
        for cell, tally in some.items():
            cells[cell] = cells[cell] + tally if cell in cells else tally
    return cells


def lines_of(cells: Mapping[str, Tally], rules: Iterable[str], scopes: Mapping[str, Scope] | None = None) -> list[Line]:
    """Return the same lines from the sums over the rows of each cell."""
    rules, named = list(rules), sorted(cells, key=lambda name: cells[name].sort_key)
    return [cells[name].line(name, rule, (scopes or {}).get(name)) for name in named for rule in rules]


def tallied(rows: pa.Table, rules: Iterable[str]) -> dict[str, Tally]:
    """Return {cell: sums over its rows}."""
    one = one_word(rows["cell"]) if len(rows) else None
    cells = [one] if one else rows["cell"].unique().to_pylist()
    if len(cells) == 1:
        return {cells[0]: Tally.of(rows, rules)}  # a result file has one cell; filtering would copy its lists
    return {cell: Tally.of(rows.filter(pc.equal(rows["cell"], cell)), rules) for cell in cells}


HEAD = ("cell", "rule", "images", "clean top-1", "attacked top-1", "clean top-5", "attacked top-5", "target hit", "cost")
"""Headings of a table."""


def cells(line: Line, text: Callable[[Rate], str] = str) -> list[str]:
    """Return a line as text, in the order of HEAD; `text` formats a rate."""
    rates = (line.clean_top1, line.adv_top1, line.clean_top5, line.adv_top5, line.target_hits)
    images = str(line.images)
    if line.planned is not None and line.planned > line.images + line.failed:
        images += f" of {line.planned}, {'stopped' if line.stopped else 'so far'}"
    images += f" + {line.failed} failed" if line.failed else ""
    images += f", {line.skipped} skipped" if line.skipped else ""
    images += f", {line.moved} moved" if line.moved else ""
    images += f", {line.blind} blind" if line.blind else ""
    cost = f"{line.draw_gradients:,} in {line.seconds / 60:.1f} min"
    return [line.cell, line.rule, images, *("" if r is None else text(r) for r in rates), cost]


def notes(table: Iterable[Line]) -> list[str]:
    """Return what a reader of these lines must know, one sentence each."""
    table = list(table)
    sentences = []
    if any(line.planned not in (None, line.images + line.failed) for line in table):
        sentences.append("n of N: not all images are done yet")
    if any(line.failed for line in table):
        sentences.append("failed: images that could not be attacked, in no rate: `status` of their rows says why")
    if any(line.skipped for line in table):
        sentences.append(
            "skipped: misclassified without an attack, so none was spent (skip_misclassified); in every rate, with the image "
            "itself as the example: exact for the attacked top-1 of that rule, an upper bound for other rules and for top-5"
        )
    if any(line.moved for line in table):
        sentences.append(
            "moved: examples of others that were outside their ball in 8 bits, and were moved into it; in every rate"
        )
    certified = {line.cell: line.certified for line in table if line.certified}
    sentences += [
        f"{cell}: {rate} % certified at its eps; nothing attacked these images, so attacked is clean"
        for cell, rate in certified.items()
    ]
    alarms = {line.cell: blind.alarm(line.blind, line.images) for line in table if line.blind}
    sentences += [f"{cell}: {text}; `barrage check` finds out why" for cell, text in alarms.items()]
    return sentences


def markdown(table: Iterable[Line]) -> str:
    """Return lines as a Markdown table, with notes."""
    table = list(table)
    body = [cells(line) for line in table]
    text = "\n".join("| " + " | ".join(row) + " |" for row in (list(HEAD), ["---"] * len(HEAD), *body))
    return "\n\n".join([text, *notes(table)])


def as_dict(line: Line) -> dict[str, Any]:
    """Return a line as plain values: rates in [0, 1] with the ends of their intervals, None for a missing rate."""
    out: dict[str, Any] = {}
    for name, value in vars(line).items():
        if name in ("clean_top1", "adv_top1", "clean_top5", "adv_top5", "target_hits", "certified"):
            parts = (value.value, value.low, value.high) if value else (None, None, None)
            out |= dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))
        else:
            out[name] = value
    return out


def to_json(table: Iterable[Line]) -> str:
    """Return lines as JSON."""
    return json.dumps([as_dict(line) for line in table], indent=1)
