"""Ask other rooms for what they make: pictures of an image, a comparison of two cells, errors of a cell. Imported when asked.

What they made is kept, the latest answers, until the rows that it rests on change.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view import images
from pipeline.view.rows.columns import TOPS
from pipeline.view.rows.scored import cut
from pipeline.view.watched import Watched

KEPT = 64
"""Answers that are kept."""


class Answers:
    """Keep the latest answers to questions that take seconds. One is made at a time: each takes all cores."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._making = Lock()

    def of(self, question: Hashable, make: Callable[[], Any]) -> Any:
        """Return the answer to a question, made where it is not known."""
        with self._making:
            if question not in self._known:
                self._known[question] = make()
            self._known.move_to_end(question)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return self._known[question]


def compared(first: Watched, first_cell: str, second: Watched, second_cell: str, rule: str, top: int) -> dict[str, Any]:
    """Return the comparison of two cells as plain values; where it cannot be made, `problem` says why."""
    from pipeline.analysis.comparison import Side, comparison

    _refuse_other(rule, top)
    try:
        found = comparison(Side(first.url, first_cell), Side(second.url, second_cell), rule, top).as_dict()
    except BadInput as error:
        return {"problem": str(error)}
    for side in (found["first"], found["second"]):
        side["costs"], side["cost"] = side["cost"], side["cost"]["draw_gradients"]  # the page draws the one
    return _cut(found)


def errors(store: Watched, cell: str, rule: str, top: int) -> dict[str, Any]:
    """Return where a cell errs, as plain values. Raises BadInput for a cell that the store lacks."""
    from pipeline.analysis.errors import errors

    _refuse_other(rule, top)
    return _cut(errors(store.url, cell, rule, top))


def picture(store: Watched, cell: str, shard: str, key: str, what: str) -> bytes:
    """Return one picture of an image as PNG. Raises BadInput, which says why there is none."""
    from pipeline.view.pictures import Key

    return pictures(store).png(Key(cell, shard, key), what)


def draws(store: Watched, cell: str, shard: str, key: str) -> dict[str, Any]:
    """Return what the draws of the defense said of an image, and what they are made of. Raises BadInput."""
    from pipeline.view.pictures import Key

    return pictures(store).draws(Key(cell, shard, key))


def pictures(store: Watched) -> Any:
    """Return what reads the pictures of a store, and keeps some of them."""
    from pipeline.view.pictures import COLUMNS, Pictures

    def find(key: Any) -> images.Row | None:
        return images.stored(store, key.cell, key.shard, key.key, COLUMNS)

    if store.pictures is None:
        store.pictures = Pictures(store.url, find)
    return store.pictures


def _cut(value: Any) -> Any:
    """Return plain values with their texts cut as in the table of rows: a key names the same image there."""
    if isinstance(value, dict):
        return {name: _cut(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(of) for of in value]
    return cut(value) if isinstance(value, str) else value


def _refuse_other(rule: str, top: int) -> None:
    if rule not in RULES.working() or top not in TOPS:
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(RULES.working())}, and 1 or 5")
