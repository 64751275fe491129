"""Write texts that come from data where programs read more than letters into them: one function for each format.

Keys of images, names of files, error texts and what a store holds come from other people. None may colour a terminal, become a
formula of a spreadsheet, a link of a page, a command of LaTeX. The HTML page escapes markup itself, as Jinja does.
"""

import json
import shlex
import unicodedata

from pipeline.errors import shortened

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode's categories of characters that steer or hide: controls, directions, halves of pairs, private ones, line breaks."""

_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
}


def line(text: object) -> str:
    """Return a text as one line for a terminal, a log or a page: what cannot be seen is written as `\\x1b` or `\\u202e`."""
    return "".join(json_like(c) if unicodedata.category(c) in _UNSEEN else c for c in str(text))


def excerpt(text: object, most: int = 200) -> str:
    """Return a text of any length and kind as a part of one line: of a longer one its beginning and its end."""
    return line(shortened(str(text), most))


def json_like(character: str) -> str:
    """Return a character as an escape of Python and JSON writes it: `\\n`, `\\x1b`, `\\u202e`."""
    return ascii(character)[1:-1]


def markdown(text: object) -> str:
    """Return a text for a cell of a Markdown table, where no character means more than itself."""
    escaped = line(text)
    for special in "\\`*_{}[]()<>#+!|~&$:@":
        escaped = escaped.replace(special, "\\" + special)
    return escaped


def csv(text: object) -> str:
    """Return a text for a cell of a CSV file: with `'` in front where a spreadsheet would take it for a formula."""
    escaped = line(text)
    return f"'{escaped}" if escaped.lstrip()[:1] in tuple("=+-@|%") else escaped


def latex(text: object) -> str:
    """Return a text for LaTeX, where no character begins a command."""
    return "".join(_LATEX.get(c, c) for c in line(text))


def mathtext(text: object) -> str:
    """Return a text for a figure, where Matplotlib would read what stands between two `$` as a formula."""
    return line(text).replace("\\", "\\\\").replace("$", r"\$") if "$" in str(text) else line(text)


def command(*words: object) -> str:
    """Return a command as a shell takes it, each word quoted where it has to be."""
    return shlex.join(map(str, words))


def python(text: object) -> str:
    """Return a text as a string of Python source."""
    return json.dumps(str(text))
