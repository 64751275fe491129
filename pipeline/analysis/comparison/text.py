"""Lay out comparisons as tables of texts, for a terminal, a notebook and Markdown: the same tables in all of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from pipeline import escaped
from pipeline.analysis.comparison.measured import Measured
from pipeline.analysis.comparison.paired import Comparison
from pipeline.analysis.comparison.settings import Setting, shown
from pipeline.analysis.comparison.sides import Side

MOST = 10
"""Lines of a long table that are shown; `as_dict` and the frames have all."""

LONGEST = 60
"""Characters of a text of data that are shown."""

NAMES = {"adv": "attacked", "clean": "clean", "target_hit": "target hit"}
SPENT = {"draw_gradients": "draw-gradients", "forwards": "draws without gradient", "seconds": "seconds of a device"}


@dataclass(frozen=True)
class Section:
    """Hold a table: what it is, its head, its lines, and sentences below it; without lines only the sentences are shown."""

    title: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


class Pair(Protocol):
    """Describe what is laid out of a comparison of two cells; see `pipeline.analysis.comparison.CellComparison`."""

    @property
    def rule(self) -> str: ...
    @property
    def top(self) -> int: ...
    @property
    def first(self) -> Measured: ...
    @property
    def second(self) -> Measured: ...
    @property
    def found(self) -> dict[str, Comparison]: ...
    @property
    def adv(self) -> Comparison: ...
    @property
    def costs(self) -> tuple[dict[str, float], dict[str, float]]: ...
    @property
    def settings(self) -> list[Setting]: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def classes(self) -> pd.DataFrame: ...
    @property
    def parts(self) -> pd.DataFrame: ...
    @property
    def changed(self) -> pd.DataFrame: ...
    def rate(self, side: str, value: str = "adv") -> tuple[float, float, float]: ...


class Several(Protocol):
    """Describe what is laid out of several comparisons; see `pipeline.analysis.comparison.Comparisons`."""

    @property
    def each(self) -> Sequence[Any]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    def frame(self) -> pd.DataFrame: ...


def of_all(found: Several, most: int = MOST, with_parts: bool = True) -> list[Section]:
    """Return the tables of several comparisons: all of a single one, else a line for each."""
    if len(found.each) == 1:
        return [*of_pair(found.each[0], most, with_parts), *_notes(found.notes)]
    heads, names, notes = _named([(one.first.side, one.second.side) for one in found.each])
    rows = []
    for name, one, corrected in zip(names, found.each, found.frame()["p_holm"], strict=True):
        compared: Comparison = one.adv
        rates = (_rate(one.rate(side)) for side in ("first", "second"))
        rows.append([*name, str(compared.images), *rates, compared.interval, _p(compared.p_value), _p(corrected)])
    head = (*heads, "images", "first %", "second %", "first - second", "p", "p, Holm")
    warnings = dict.fromkeys(_about(one, line) for one in found.each for line in one.warnings)
    return [Section("attacked accuracy", head, rows, [*notes, _rule(found.each[0])]), *_notes([*warnings, *found.notes])]


def _named(sides: Sequence[tuple[Side, Side]]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the shortest names that tell pairs of cells apart: heads of columns, their texts a line, sentences below."""
    first, second = ({pair[place].store for pair in sides} for place in (0, 1))
    if len(first) > 1 or len(second) > 1:
        return ["first", "second"], [[str(one), str(two)] for one, two in sides], []
    notes = [f"first: {min(first)}", f"second: {min(second)}"] if first != second else [f"store: {min(first)}"]
    if all(one.cell == two.cell for one, two in sides):
        return ["cell"], [[str(one.cell)] for one, _ in sides], notes
    return ["first", "second"], [[str(one.cell), str(two.cell)] for one, two in sides], notes


def _about(one: Any, line: str) -> str:
    """Return a warning of a comparison with the cell that it is about, if it does not begin with it."""
    sides = (str(one.first.side), str(one.second.side))
    return line if line.startswith(sides) else f"{sides[1]}: {line}"


def of_pair(found: Pair, most: int = MOST, with_parts: bool = True) -> list[Section]:
    """Return the tables of a comparison of two cells; `most` lines of long ones, and `with_parts` those of the parts."""
    sections = [_accuracy(found), _fields(found.adv), _changed(found.changed, most), _costs(found.costs)]
    known = ["label", "class"] if found.classes["class"].notna().any() else ["label"]
    sections.append(_lines("classes", found.classes, known, most))
    if with_parts:
        sections.append(_lines("parts of the defense", found.parts, ["part"], most, "draws that have the part"))
    rows = [[setting.name, shown(setting.first), shown(setting.second)] for setting in found.settings]
    sections.append(Section("settings that differ", ("", "first", "second"), rows))
    return [*(section for section in sections if section.rows), *_notes(found.warnings)]


def _accuracy(found: Pair) -> Section:
    rows = []
    for value, compared in found.found.items():
        rates = (_rate(found.rate(side, value)) for side in ("first", "second"))
        rows.append([NAMES[value], str(compared.images), *rates, compared.interval, _p(compared.p_value), compared.test])
    notes = [f"first: {found.first.side}", f"second: {found.second.side}", _rule(found)]
    return Section("accuracy", ("%", "images", "first", "second", "first - second", "p", "test"), rows, notes)


def _rule(found: Pair) -> str:
    return f"rule {found.rule}, top {found.top}; in brackets the 95 % interval over images"


def _fields(found: Comparison) -> Section:
    (both, one), (other, neither) = found.table
    rows = [["first right", str(both), str(one)], ["first wrong", str(other), str(neither)]]
    return Section("attacked images", ("", "second right", "second wrong"), rows, ["right: in more than half of the draws"])


def _changed(found: pd.DataFrame, most: int) -> Section:
    rows = []
    for field, name in (("first_only", "first"), ("second_only", "second")):
        for row in found[found["right"] == field].head(most).itertuples():
            rows.append([name, str(row.image_key), str(row.shard), str(row.label), _percent(row.first), _percent(row.second)])
    more = len(found) - len(rows)
    notes = [f"and {more:,} more"] if more else []
    return Section("images that changed sides", ("right in", "image", "shard", "label", "first %", "second %"), rows, notes)


def _costs(found: tuple[dict[str, float], dict[str, float]]) -> Section:
    rows = [
        [text, f"{found[0][name]:,.4g}", f"{found[1][name]:,.4g}", _times(found[0][name], found[1][name])]
        for name, text in SPENT.items()
    ]
    return Section("cost of an image", ("", "first", "second", "second / first"), rows)


def _lines(title: str, frame: pd.DataFrame, heads: list[str], most: int, what: str = "") -> Section:
    """Return the first lines of a frame with figures of groups of images."""
    rows = []
    for row in frame.head(most).to_dict("records"):
        points = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        names = ["" if row[head] is None else str(row[head]) for head in heads]
        rates = (str(row["images"]), _percent(row["first"]), _percent(row["second"]))
        rows.append([*names, *rates, points, _p(row["p_value"]), _p(row["p_holm"])])
    more = [f"and {len(frame) - len(rows):,} more"] if len(frame) > len(rows) else []
    head = (*heads, "images", "first %", "second %", "first - second", "p", "p, Holm")
    return Section(title, head, rows, [*([what] if what else []), *more])


def _notes(lines: Sequence[str]) -> list[Section]:
    return [Section("", notes=lines)] if lines else []


def _rate(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _p(value: float) -> str:
    return f"{value:.2g}"


def _times(first: float, second: float) -> str:
    return f"{second / first:.3g}" if first else ""


def cut(text: str) -> str:
    """Return a text of data with its end cut off where it is long, so that no table bursts."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def plain(sections: Iterable[Section]) -> str:
    """Return tables as plain text, with aligned columns."""
    return "\n\n".join("\n".join(_plain(section)) for section in sections)


def _plain(section: Section) -> Iterator[str]:
    table = [[escaped.line(cut(text)) for text in row] for row in (section.head, *section.rows)] if section.rows else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if section.title:
        yield section.title
    for row in table:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    yield from (escaped.line(note) for note in section.notes)


def markdown(sections: Iterable[Section]) -> str:
    """Return tables as Markdown."""
    return "\n\n".join(part for section in sections for part in _markdown(section, escaped.markdown))


def _markdown(section: Section, safe: Callable[[object], str]) -> Iterator[str]:
    if section.title:
        yield f"**{section.title}**"
    if section.rows:
        table = [[safe(cut(text)) for text in row] for row in (section.head, *section.rows)]
        lines = [table[0], ["---"] * len(section.head), *table[1:]]
        yield "\n".join(f"| {' | '.join(row)} |" for row in lines)
    if section.notes:
        yield "\n".join(f"- {safe(note)}" for note in section.notes)
