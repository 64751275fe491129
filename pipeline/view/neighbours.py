"""Ask other rooms for what they make: pictures of an image, a comparison of two cells, errors of a cell. Imported when asked.

What they made is kept, the latest answers, until the rows that it rests on change.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view.columns import TOPS
from pipeline.view.images import Row
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
    return found


def errors(store: Watched, cell: str, rule: str, top: int) -> dict[str, Any]:
    """Return where a cell errs, as plain values. Raises BadInput for a cell that the store lacks."""
    from pipeline.analysis.errors import errors

    _refuse_other(rule, top)
    return errors(store.url, cell, rule, top)


def picture(store: Watched, row: Row, what: str) -> bytes:
    """Return one picture of an image as PNG. Raises BadInput, which says why there is none."""
    from pipeline.view.pictures import png

    return png(_images(store), row, what)


def draws(store: Watched, row: Row) -> dict[str, Any]:
    """Return what the draws of the defense said of an image, and what they are made of. Raises BadInput."""
    from pipeline.view.pictures import draws

    return draws(_images(store), row)


def _images(store: Watched) -> Any:
    """Return what reads the images of a store, and keeps some of them. Raises BadInput for a store without a campaign."""
    from pipeline.reports.pictures import Images

    if store.job is None:
        raise BadInput(store.content["problem"] or "the campaign is not read yet: try again")
    if store.images is None:
        store.images = Images(store.job)
    return store.images


def _refuse_other(rule: str, top: int) -> None:
    if rule not in RULES.working() or top not in TOPS:
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(RULES.working())}, and 1 or 5")
