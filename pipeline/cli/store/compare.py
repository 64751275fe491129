"""Define `barrage compare`: hold cells of one store or of several against a baseline, on the images that both attacked."""

import json as json_text
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from pipeline.cli import completion
from pipeline.cli.common import Modules, allow, answer, out
from pipeline.errors import BadInput
from pipeline.escaped import line

if TYPE_CHECKING:
    from pipeline.analysis import Comparisons
    from pipeline.analysis.comparison.text import Section


class Judged(StrEnum):
    DEFENSE = "defense"
    ATTACK = "attack"


WORSE, UNDECIDED = 1, 3
"""Exit codes of `--fail-if-worse`, and of `--strict` where images are too few to decide."""

NARROW = 100
"""Characters of a terminal below which names are broken at hyphens, and an interval stands under its figure."""


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            help="stores, or cells of them as STORE::CELL; the first is the baseline of the others; cells of two stores are "
            "matched by name",
            autocompletion=completion.stores,
        ),
    ],
    cell: Annotated[
        list[str] | None,
        typer.Option(
            help="only this cell; repeat the option for more; of a single store: the baseline first; default: all",
            autocompletion=completion.cells,
        ),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="a decision rule, such as single or vote", autocompletion=completion.rules)
    ] = "single",
    top: Annotated[int, typer.Option(help="1 or 5: the label must be among the first classes, this many")] = 1,
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            help="exit code 1 if a cell is worse than the baseline by more points than this, beyond its 95 % interval"
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="with --fail-if-worse: exit code 3 if the images are too few to exclude it")
    ] = False,
    judged: Annotated[
        Judged, typer.Option("--for", help="what is worse: a defense with fewer attacked images right, an attack with more")
    ] = Judged.DEFENSE,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    json: Annotated[bool, typer.Option("--json", help="print everything as JSON, for programs")] = False,
    lines: Annotated[int, typer.Option(min=0, help="lines of images, classes and parts that are shown")] = 10,
    parts: Annotated[
        bool, typer.Option(help="compare the draws of each transform too; takes minutes for a million images")
    ] = True,
    allow_module: Modules = None,
) -> None:
    """Compare cells or stores image by image: barrage compare stores/demo --cell lite0-bart5-pgd --cell lite0-bart10-pgd"""
    from pipeline import analysis
    from pipeline.analysis.comparison import text, verdicts

    allow(allow_module)
    if json and markdown:
        raise BadInput("--json and --markdown: give one of them")
    if strict and fail_if_worse is None:
        raise BadInput("--strict says when --fail-if-worse fails: give that too, such as --fail-if-worse 2")
    if fail_if_worse is not None:
        verdicts.margin(fail_if_worse)
    found = analysis.comparisons(*sides, cells=cell or (), rule=rule, top=top)
    attack = judged is Judged.ATTACK
    reached = [] if fail_if_worse is None else [verdicts.verdict(one.adv, fail_if_worse, attack) for one in found.each]
    if json:
        print(json_text.dumps(found.as_dict(with_parts=parts) | {"verdicts": reached}, indent=1))
    else:
        sections = text.of_all(found, lines, parts)
        if fail_if_worse is not None:
            sections.append(text.Section("verdict", notes=_said(found, fail_if_worse, attack)))
        print(text.markdown(sections)) if markdown else _print(sections)
    raise typer.Exit(_code([*reached, *("undecided" for _ in found.lacking)], strict))


def _code(reached: Sequence[str], strict: bool) -> int:
    """Return the exit code: the worst of all comparisons."""
    if "worse" in reached:
        return WORSE
    return UNDECIDED if strict and "undecided" in reached else 0


def _said(found: "Comparisons", points: float, attack: bool) -> list[str]:
    """Return the verdict on each comparison in words."""
    from pipeline.analysis.comparison import verdicts

    said = [f"{one.second.side}: {verdicts.said(one.adv, points, attack)}" for one in found.each]
    return said + [f"{side}: undecided, it has no rows" for side in found.lacking]


def _print(sections: "list[Section]") -> None:
    """Print tables for a terminal: what is data is cut where it is long, and no letter of it is markup."""
    from pipeline.analysis.comparison.text import cut
    from pipeline.status.columns import parted

    for section in sections:
        if section.title:
            out.print(Text(section.title, "bold"))
        if section.rows:
            view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            widest = 14 if out.width < NARROW else out.width
            names = [parted(line(cut(row[0])), widest) for row in section.rows]
            for head in section.head:
                view.add_column(Text(head), overflow="fold")
            for name, row in zip(names, section.rows, strict=True):
                view.add_row(Text(name), *(_fitting(line(cut(text))) for text in row[1:]))
            out.print(view)
        for note in section.notes:
            answer(note)
        out.print()


def _fitting(text: str) -> Text:
    """Return a figure with its interval below it in a narrow terminal."""
    return Text(text.replace(" [", "\n[") if out.width < NARROW else text)
