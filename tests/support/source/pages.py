"""The pages that a reader sees, taken apart: code blocks, commands, inline commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from pipeline.__main__ import app, more_commands

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("board", "cluster", "notebooks")),
]

_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)
_INDENTED = re.compile(r"(?:(?<=\n\n)|^)((?: {4}.*\n|\n(?= {4}))+)")


@dataclass(frozen=True)
class Block:
    """A block of code. `kind` is the language of a fence, `indented` without one."""

    page: str
    line: int
    kind: str
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    text = page.read_text()

    def block(place: int, kind: str, title: str | None, code: str) -> Block:
        return Block(name(page), text.count("\n", 0, place) + 1, kind, title, code)

    fenced = [block(found.start(), found[1], found[2], found[3]) for found in _FENCE.finditer(text)]
    blank = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    indented = [
        block(_place(text, blank, found.start()), "indented", None, re.sub("^    ", "", found[1], flags=re.M))
        for found in _INDENTED.finditer(blank)
    ]
    return sorted(fenced + indented, key=lambda found: found.line)


def _place(text: str, blank: str, at: int) -> int:
    """The place in `text` of a line of `blank`, which has the same lines."""
    line = blank.count("\n", 0, at)
    return sum(map(len, text.splitlines(keepends=True)[:line]))


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell block as lists of words, comments left out; of `a|b|c` the first."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"(?<=\w)(\|\w+)+", "", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in (";", "&&", "|"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def inline(page: Path) -> list[str]:
    """The commands that stand within sentences, each in backquotes."""
    text = _FENCE.sub("", page.read_text())
    return [" ".join(found.split()) for found in re.findall(r"`((?:barrage|python -m|make|pip install|jupytext) [^`]+)`", text)]


def links(page: Path) -> list[str]:
    """What a page links to or shows, without anchors and other sites."""
    text = _FENCE.sub("", page.read_text())
    return [link for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text) if not link.startswith(("http://", "https://"))]


def patched(text: str, diff: str) -> str:
    """A file after a diff of the pages, whose pieces are divided by @@: each must be found there once."""
    for piece in re.split(r"^@@.*\n", diff, flags=re.M):
        lines = [line or " " for line in piece.splitlines()]
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert text.count(old) == 1, f"the diff does not fit, {text.count(old)} places hold\n{old}"
        text = text.replace(old, new)
    return text


@cache
def cli():
    more_commands()
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def parsed(words):
    """Holds a `barrage` command against its own parser, and its files against the repository."""
    known, name, rest = cli(), words[1], words[2:]
    while hasattr(known.get(name), "commands"):  # a group, whose name the command's own follows
        known, name, rest = known[name].commands, *(rest[:1] or ["nothing"]), rest[1:]
    assert name in known, f"no command {' '.join(words[1:])}"
    if rest and "--help" not in words:
        known[name].make_context(name, list(rest))
    for word in words:
        if word.startswith(("campaigns/", "cluster/")):
            assert (ROOT / word).exists(), f"{word} is not there"
