"""Counting votes: a compiled loop over draws' lists of classes, row by row, as tens of millions of them have to be counted."""

from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def elected(lists: Array, first: Array, draws: Array, label: Array, top: int) -> Array:
    """Whether the label is among the `top` classes with the most votes: (rows,) of bool.

    lists    (all, 5) int32, the classes of every draw, likeliest first; -1 and up
    first    (rows,) which list is a row's first
    draws    (rows,) how many it has
    label    (rows,) the class that is asked for
    top      1 to 5: a draw votes for so many of its first classes
    Ties go to the class that draws rank higher, then to the one met first.
    """
    highest = int(max(lists.max(initial=0), label.max(initial=0)))
    won = np.empty(len(first), np.bool_)
    integers = (array.astype(np.int64, copy=False) for array in (first, draws, label))
    _compiled()(lists, *integers, top, np.zeros(highest + 2, np.int64), won)
    return won


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """`_count` as machine code that runs without the interpreter's lock, compiled once and kept beside this file."""
    from numba import njit

    return njit(nogil=True, cache=True)(_count)


def _count(lists: Array, first: Array, draws: Array, label: Array, top: int, score: Array, won: Array) -> None:
    """Fills `won`. `score`, zero before and after a row, orders classes by votes, then by ranks, then by who was met first;
    class -1 is at 0."""
    for row in range(len(first)):
        own = lists[first[row] : first[row] + draws[row]]
        early = top * draws[row]  # less than a rank, and all ranks are less than a vote
        rank = early + 1
        for draw in own:
            vote = rank * rank
            for voted in draw[:top]:
                at = np.uint32(voted + 1)
                score[at] += vote + (early if score[at] == 0 else 0)
                vote -= rank
                early -= 1
        least, ahead = score[np.uint32(label[row] + 1)], 0
        for draw in own:
            for voted in draw[:top]:
                at = np.uint32(voted + 1)
                ahead += score[at] > least
                score[at] = 0
        won[row] = least > 0 and ahead < top
