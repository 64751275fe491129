"""Run code of others with all randomness from keys: a whole stack at once where it can, else row by row."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.keyed import generators, operations
from bart.keyed.bounds import StraightThrough
from bart.keyed.mode import FIRST, Answers, NotByRow, UnknownRandomness, counting
from bart.keyed.passes import Function, exactly


LEAST = 4
"""Rows of a stack on a CPU, at least: kernels for fewer sum in another order, so that an image alone would get other last bits.
A shorter stack is filled up with copies of its last row."""


class Habits(NamedTuple):
    """Describe how a function draws, as a trial showed.

    draws     the operations and generators that it drew from, each once, in order; none if it is not random
    by_row    why its rows are run one by one; empty if they run together
    """

    draws: tuple[str, ...]
    by_row: str


@dataclass(frozen=True)
class Keyed:
    """Run functions of images so that each row's randomness comes from the row's key alone.

    straight_through    give `clamp` the derivative 1 at its bounds (`bart.keyed.bounds`)
    around              enter this around each pass, forward and backward, such as hooks of layers
    """

    straight_through: bool = True
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    _known: dict[tuple[Any, ...], Habits] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, function: Function, x: Tensor, keys: rng.Mirror) -> Tensor:
        """Return `function(x)`, (n, ...), for images `x` (n, c, h, w) in [0, 1] and one key a row.

        A row of the result and its gradient do not depend on the other rows. Raises UnknownRandomness.
        """
        if not self.habits(function, x).by_row:
            with suppress(NotByRow):  # where the trial did not come this way
                return self._together(function, x, keys.device)
        rows = []
        for i, seed in enumerate(keys.host.tolist()):
            within = partial(self._within, keys.device[i : i + 1], (generators.of(function), seed))
            rows.append(exactly(function, x[i : i + 1], within))
        return torch.cat(rows)

    def _together(self, function: Function, x: Tensor, keys: Tensor) -> Tensor:
        """Run a whole stack at once. Raises NotByRow for an operation that does not draw a row for each image."""
        missing = max(0, LEAST - len(x)) if x.device.type == "cpu" else 0
        if missing:
            x, keys = (torch.cat([side, side[-1:].detach().expand(missing, *side.shape[1:])]) for side in (x, keys))
        return exactly(function, x, partial(self._within, keys, None))[: len(x) - missing]

    @contextmanager
    def _within(self, keys: Tensor, seed: tuple[list[Any], int] | None, again: bool) -> Iterator[None]:
        """Surround a pass, or with `again` its backward pass."""
        with ExitStack() as stack:
            stack.enter_context(counting(FIRST if not again else 0))
            if seed:
                stack.enter_context(generators.seeded(*seed))
            if self.straight_through:
                stack.enter_context(StraightThrough())
            stack.enter_context(self.around())
            stack.enter_context(Answers(keys, again))
            yield

    def habits(self, function: Function, x: Tensor) -> Habits:
        """Return how a function draws, by trials with 3 and with 5 images of the size and device of `x`; known from then on.

        What draws a row for each image has a leading dimension of 3, then of 5. Raises UnknownRandomness.
        """
        place = (*x.shape[1:], x.device)
        if place not in self._known:
            draws, reasons = dict[str, None](), list[str]()
            for n in (3, 5):
                for name, reason in self._trial(function, n, x):
                    draws[name] = None
                    reasons += [reason] if reason else []
            self._known[place] = Habits(tuple(draws), reasons[0] if reasons else "")
        return self._known[place]

    def _trial(self, function: Function, n: int, x: Tensor) -> Iterator[tuple[str, str]]:
        """Yield what n synthetic images draw: its name, and why it does not draw a row for each image, if so."""
        keys = torch.arange(n, device=x.device)
        known, recorder = generators.of(function), _Recorder(keys)
        images = rng.field(keys, tuple(x.shape[1:])).to(x.dtype)
        with torch.no_grad(), generators.seeded(known, 0), counting(), generators.watched(known) as moved:
            with self.around(), recorder:
                function(images)
            unseen = not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(recorder.due).get_state())
        if unseen:
            raise UnknownRandomness("draws from torch's generator by compiled code, unseen: draw by torch's own operations")
        yield from recorder.seen
        for generator in moved:
            yield generators.named(generator), f"{generators.named(generator)} knows nothing of images"


class _Recorder(Answers):
    """Answer as `Answers` does, and record each operation with why it is not one row an image."""

    def __init__(self, keys: Tensor) -> None:
        super().__init__(keys)
        self.seen: list[tuple[str, str]] = []

    def answered(self, func: Any, given: operations.Arguments, count: int) -> Any:
        """Record and answer one operation."""
        name = str(func).removesuffix(".default")
        try:
            found = super().answered(func, given, count)
        except NotByRow as error:
            shape = error.args[0]
            self.seen.append((name, f"{name} draws {'one number' if not shape else tuple(shape)} for {len(self.keys)} images"))
            return operations.answer(func, given, rng.fold(self.keys[:1], count))
        self.seen.append((name, ""))
        return found
