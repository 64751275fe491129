"""Define `barrage table`: show clean and attacked accuracy under the decision rules."""

import csv
import sys
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from pipeline.cli.common import Modules, Rules, StoreUrl, allow, out
from pipeline.escaped import csv as csv_cell
from pipeline.escaped import markdown

if TYPE_CHECKING:
    from pipeline.scoring.summaries import Line


class Format(StrEnum):
    TERMINAL = "terminal"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


def table(
    store: StoreUrl,
    format: Annotated[Format, typer.Option(help="how to print the table")] = Format.TERMINAL,
    rule: Rules = None,
    allow_module: Modules = None,
) -> None:
    """Show clean and attacked accuracy under every decision rule: barrage table stores/demo"""
    from pipeline.scoring.rules import RULES

    allow(allow_module)
    for name in rule or ():
        RULES[name]  # raises PluginError for a rule that is unknown, or whose package cannot be used
    print_table(store, rule or list(RULES.working()), format)


def print_table(store: str, rules: list[str], format: Format) -> None:
    """Print the table of a store under these decision rules. Raises BadInput where the store has no rows."""
    from pipeline.scoring import summaries
    from pipeline.status.interim_checks import scopes
    from pipeline.store.mixing import batches

    lines = summaries.lines(batches(store, summaries.columns(rules)), rules, scopes(store))
    if format is Format.MARKDOWN:
        print(summaries.markdown([replace(row, cell=markdown(row.cell), rule=markdown(row.rule)) for row in lines]))
    elif format is Format.JSON:
        print(summaries.to_json(lines))
    elif format is Format.CSV:
        rows = [summaries.as_dict(replace(row, cell=csv_cell(row.cell), rule=csv_cell(row.rule))) for row in lines]
        writer = csv.DictWriter(sys.stdout, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print(lines)


RANKS = {"images": 1, "clean top-1": 2, "attacked top-1": 0, "clean top-5": 6, "attacked top-5": 5, "target hit": 4, "cost": 3}
"""The columns of the terminal's table; where it is narrow, those of a high rank are left out first, and named under it."""


def _print(lines: "list[Line]") -> None:
    """Print the table for a terminal: without columns that are the same in all lines, intervals under their rates."""
    from pipeline.scoring import summaries
    from pipeline.status.columns import Column, fitting, table

    body = [summaries.cells(line, lambda rate: rate.brief) for line in lines]
    texts = {head: [row[i] for row in body] for i, head in enumerate(summaries.HEAD)}
    columns = [Column(head.replace(" ", "\n"), RANKS.get(head, 0), _broken(texts[head])) for head in summaries.HEAD[1:]]
    kept = [c for c in columns if c.head not in ("rule", "target\nhit") or len(set(c.texts)) > 1]
    view = table(texts["cell"], kept, out.width)
    gone = [c.head.replace("\n", " ") for c in kept if any(c.texts) and c not in fitting(texts["cell"], kept, out.width)]
    about = "accuracy in %, under it the 95 % interval over images; cost in draw-gradients and device time"
    more = [f"no room for {', '.join(gone)}: widen the terminal, or take --format md"] if gone else []
    out.print(view)
    for note in (about, *summaries.notes(lines), *more):
        out.print(Text(note, "italic"))


def _broken(texts: list[str]) -> list[str]:
    """Return the texts of a column with line breaks, which keep it narrow."""
    return [text.replace(" in ", "\n").replace(" + ", "\n+ ").replace(", ", ",\n") for text in texts]
