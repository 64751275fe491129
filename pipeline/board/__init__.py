"""Keep a board of defenses: entries made from stores, judged by one set of rules, ranked and rendered.

`gathering` makes an entry of a store's rows, `admission` says why it may not stand on the board, `entry` is its file, `ranking`
puts entries in order, `pages` renders them. docs/board.md has the rules in words.
"""

from pipeline.board.admission import refusals
from pipeline.board.entry import FOLDER, URL, Entry, Submission, encode, files, read
from pipeline.board.gathering import gather, groups
from pipeline.board.pages import filled, html
from pipeline.board.ranking import ranked

__all__ = [
    "FOLDER", "URL", "Entry", "Submission", "encode", "files", "filled", "gather", "groups", "html", "ranked", "read",
    "refusals",
]  # fmt: skip
