"""Define `barrage table`: show clean and attacked accuracy under the decision rules."""

import csv
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pipeline.cli.common import Modules, StoreUrl, allow, out

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
    rule: Annotated[
        list[str] | None,
        typer.Option(help="a decision rule, such as single or vote; repeat the option for more; default: all"),
    ] = None,
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
    from pipeline.campaigns.job import opened
    from pipeline.scoring import summaries
    from pipeline.store.mixing import batches

    lines = summaries.lines(batches(store, summaries.columns(rules)), rules, opened(store).scopes())
    if format is Format.MARKDOWN:
        print(summaries.markdown(lines))
    elif format is Format.JSON:
        print(summaries.to_json(lines))
    elif format is Format.CSV:
        rows = [summaries.as_dict(line) for line in lines]
        writer = csv.DictWriter(sys.stdout, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print(lines)


def _print(lines: "list[Line]") -> None:
    """Print the table for a terminal: without columns that are the same in all lines, intervals under their rates."""
    from pipeline.scoring import summaries

    body = [summaries.cells(line, lambda rate: rate.brief) for line in lines]
    shown = [i for i, name in enumerate(summaries.HEAD) if name not in ("rule", "target hit") or len({r[i] for r in body}) > 1]
    about = "accuracy in %, under it the 95 % interval over images; cost in draw-gradients and device time"
    caption = "\n".join([about, *summaries.notes(lines)])
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    for i in shown:
        view.add_column(summaries.HEAD[i].replace(" ", "\n"), overflow="fold")
    for row in body:
        view.add_row(*(row[i].replace(" in ", "\n").replace(" + ", "\n+ ") for i in shown))
    out.print(view)
