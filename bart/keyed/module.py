"""Run code of others with all randomness from keys: a whole stack at once where it can, else row by row."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bart import rng
from bart.keyed import generators
from bart.keyed.bounds import StraightThrough
from bart.keyed.mode import FIRST, Answers, counting
from bart.keyed.numbers import NotByRow
from bart.keyed.passes import exactly
from bart.keyed.trial import Code, trial

LEAST = 4
"""Rows of a stack on a CPU, at least: kernels for fewer sum in another order, so that an image alone would get other last bits.
A shorter stack is filled up with copies of its last row."""


class Habits(NamedTuple):
    """Describe how code draws, as a trial showed.

    draws     the operations and generators that it drew from, each once, in order; none if it is not random
    by_row    why its rows are run one by one; empty if they run together
    again     whether its backward pass runs code of it, such as a part of the forward pass again
    clamps    whether it clamps values
    """

    draws: tuple[str, ...]
    by_row: str
    again: bool
    clamps: bool


@dataclass(frozen=True)
class Keyed:
    """Run code so that each row's randomness comes from the row's key alone.

    straight_through    give `clamp` the derivative 1 at its bounds (`bart.keyed.bounds`)
    """

    straight_through: bool = True
    _known: "WeakKeyDictionary[nn.Module, dict[Any, Habits]]" = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __call__(self, code: Code, x: Tensor, keys: rng.Mirror) -> Tensor:
        """Return `code.function(x)`, (n, ...), for images `x` (n, c, h, w) in [0, 1] and one key a row.

        A row of the result and its gradient do not depend on the other rows. Raises UnknownRandomness.
        """
        habits = self.habits(code, x)
        if not habits.by_row:
            with suppress(NotByRow):  # where the trial did not come this way
                return self._together(code, x, keys.device, habits)
        rows = []
        for i, seed in enumerate(keys.host.tolist()):
            within = partial(self._within, code, keys.device[i : i + 1], seed, habits)
            rows.append(exactly(code.function, x[i : i + 1], within))
        return torch.cat(rows)

    def _together(self, code: Code, x: Tensor, keys: Tensor, habits: Habits) -> Tensor:
        """Run a whole stack at once. Raises NotByRow for an operation that does not draw a row for each image."""
        missing = max(0, LEAST - len(x)) if x.device.type == "cpu" else 0
        if missing:
            x, keys = (torch.cat([side, side[-1:].detach().expand(missing, *side.shape[1:])]) for side in (x, keys))
        return exactly(code.function, x, partial(self._within, code, keys, None, habits))[: len(x) - missing]

    @contextmanager
    def _within(self, code: Code, keys: Tensor, seed: int | None, habits: Habits, backward: bool) -> Iterator[None]:
        """Set up the forward pass, or the `backward` one, which needs nothing unless it runs code again."""
        if backward and not habits.again:
            yield
            return
        with ExitStack() as stack:
            stack.enter_context(counting(FIRST if not backward else 0))
            if seed is not None:
                stack.enter_context(generators.seeded(generators.of(code.modules), seed))
            if self.straight_through and habits.clamps:
                stack.enter_context(StraightThrough())
            stack.enter_context(code.around())
            stack.enter_context(Answers(keys, backward))
            yield

    def habits(self, code: Code, x: Tensor) -> Habits:
        """Return how code draws, by trials with 3 and with 5 images of the size and device of `x`; known from then on.

        What draws a row for each image has a leading dimension of 3, then of 5. Raises UnknownRandomness.
        """
        known = self._known.setdefault(code.modules[0], {})
        place = (*x.shape[1:], x.device)
        if place not in known:
            trials = [trial(code, n, x) for n in (3, 5)]
            draws = {name: None for found in trials for name, _ in found.draws}
            reasons = [reason for found in trials for _, reason in found.draws if reason]
            again, clamps = (any(getattr(found, name) for found in trials) for name in ("again", "clamps"))
            known[place] = Habits(tuple(draws), reasons[0] if reasons else "", again, clamps)
        return known[place]
