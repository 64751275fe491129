"""Show a board: as tables of a Markdown page, between two comments, and as one HTML file that fetches nothing."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from pipeline import escaped
from pipeline.board.entry import FOLDER, Entry, Measured, Worst
from pipeline.board.ranking import Ranked, Threat, ranked
from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES

_HERE = Path(__file__).parent / "page"
_BLOCK = re.compile(r"(<!-- board: written by barrage board build -->\n).*?(<!-- end -->)", re.S)

HEAD = ("rank", "defense", "model", "clean", "standard attack", "worst case", "judged", "cost", "entry")
"""The columns of a table in Markdown."""


def figure(measured: Measured) -> str:
    """Return a rate in % with its 95 % interval: 12.3 [9.1, 16.0]."""
    return f"{100 * measured.value:.1f} [{100 * measured.low:.1f}, {100 * measured.high:.1f}]"


def bounds(worst: Worst) -> str:
    """Return the two bounds of a worst case in %: "8.1 to 9.3", or one figure where they are the same."""
    return " to ".join(dict.fromkeys(f"{100 * value:.1f}" for value in (worst.least.value, worst.apart)))


def worst_case(entry: Entry) -> str:
    """Return the worst case in % between its bounds, with the interval of the truth; empty where only one attack was run."""
    found = entry.worst
    return f"{bounds(found)} [{100 * found.least.low:.1f}, {100 * found.high:.1f}]" if found else ""


def called(entry: Entry) -> str:
    """Return what a reader calls the defense."""
    return "no defense" if entry.defense.settings.get("k") == 0 else entry.defense.summary


def cost(row: Ranked) -> str:
    """Return what the standard attack took for an image, in draw-gradients and seconds of a device."""
    cell = row.standard
    attacked = cell.images + cell.failed
    return f"{cell.draw_gradients / attacked:.0f} in {cell.device_seconds / attacked:.2f} s"


def judged(row: Ranked) -> str:
    """Return the number of images, and of the draws that judged each."""
    draws = row.standard.evaluation_draws
    return f"{row.standard.images:,} by {draws} draw{'s' * (draws > 1)}"


def about(threat: Threat, rows: list[Ranked]) -> str:
    """Return in words how far a table decides: which entries share the first rank."""
    first = [row for row in rows if row.best == 1]
    tied = f"{len(first)} entries share the first rank: their intervals overlap" if len(first) > 1 else "one entry leads"
    return f"{len(rows)} {'entries' if len(rows) > 1 else 'entry'}; {tied}"


def markdown(entries: Iterable[Entry]) -> str:
    """Return the tables of a board, one for each threat, with the source of every entry below."""
    text = escaped.markdown
    parts = []
    for threat, rows in ranked(entries).items():
        lines = [HEAD, ("---",) * len(HEAD)]
        for row in rows:
            entry = row.entry
            link = f"[{text(entry.name)}](../board/{FOLDER}/{entry.name}.json)"
            names = (text(called(entry)), text(f"{entry.model.name}, {entry.model.architecture}"))
            figures = (figure(row.clean), figure(row.attacked), worst_case(entry), judged(row), cost(row))
            lines.append((row.rank, *names, *figures, link))
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"### {text(threat)}\n\n{about(threat, rows).capitalize()}.\n\n{table}")
    return "\n\n".join(parts) or "No entries yet."


def filled(page: str, entries: Iterable[Entry]) -> str:
    """Return a page with the tables of a board between its two comments. Raises BadInput for a page without them."""
    if not _BLOCK.search(page):
        raise BadInput(
            "the page has no line <!-- board: written by barrage board build -->: put it there, and <!-- end --> below"
        )
    tables = markdown(entries)
    return _BLOCK.sub(lambda found: f"{found[1]}\n{tables}\n\n{found[2]}", page)


def html(entries: Iterable[Entry]) -> str:
    """Return a board as one HTML file, whose tables sort where scripts run."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.finalize = _seen
    css, script = ((_HERE / name).read_text() for name in ("page.css", "page.js"))
    rules = {name: RULES.builtin[name].about for name in RULES.builtin}
    functions = {"figure": figure, "bounds": bounds, "called": called, "about": about}
    return templates.get_template("page.html").render(
        sections=ranked(entries), rules=rules, css=css, script=script, **functions
    )


def _seen(value: Any) -> Any:
    """Return what a page shows of a value of a template: texts without characters that steer or hide."""
    return escaped.line(value) if type(value) is str else value
