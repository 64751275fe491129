"""Count votes: a compiled loop over the class lists of draws, row by row, fast enough for tens of millions."""

from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def elected(lists: Array, first: Array, draws: Array, label: Array, top: int) -> Array:
    """Return whether the label is among the `top` classes with the most votes: (rows,) bool.

    lists    (all draws, 5) int32, the classes of every draw, likeliest first; -1 or more
    first    (rows,) index of a row's first list
    draws    (rows,) number of a row's lists
    label    (rows,) the class to look for
    top      1 to 5: each draw votes for its first `top` classes
    Ties go to the class with the higher ranks in the draws, then to the class that occurs first.
    """
    highest = int(max(lists.max(initial=0), label.max(initial=0)))
    won = np.empty(len(first), np.bool_)
    integers = (array.astype(np.int64, copy=False) for array in (first, draws, label))
    _compiled()(lists, *integers, top, np.zeros(highest + 2, np.int64), won)
    return won


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return `_count` as machine code, compiled once and cached beside this file; it runs without the interpreter's lock."""
    from numba import njit

    return njit(nogil=True, cache=True)(_count)


def _count(lists: Array, first: Array, draws: Array, label: Array, top: int, score: Array, won: Array) -> None:
    """Fill `won`. `score` orders classes by votes, then by ranks, then by first occurrence; index 0 is class -1.

    `score` is zero before and after each row.
    """
    for row in range(len(first)):
        own = lists[first[row] : first[row] + draws[row]]
        early = top * draws[row]  # all of `early` counts less than one rank, all ranks less than one vote
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
