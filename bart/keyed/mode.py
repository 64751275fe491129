"""Watch the operations that a stranger's code runs, and answer the random ones from keys.

The number of random operations so far is kept as the seed of torch's own generator. Whatever runs a part of the forward pass
again in the backward pass, such as `torch.utils.checkpoint`, saves and restores that generator; so the part gets its own
numbers again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bart import rng
from bart.keyed import operations

FIRST = 1 << 40
"""The count of the first random operation: a seed that no code sets by itself."""


class UnknownRandomness(ValueError):
    """Say that a module draws numbers that can't be answered from keys."""


class Answers(TorchDispatchMode):
    """Answer random operations of torch from keys (n,) int64, one a row, as long as this is entered.

    again   the operations are those of a backward pass: random ones among them must repeat some of the forward pass
    Raises UnknownRandomness, NotByRow from the operation that can't be answered.
    """

    def __init__(self, keys: Tensor, again: bool = False) -> None:
        super().__init__()
        self.keys, self.again = keys, again
        self.due = FIRST

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave the method as it is: torch's guard against compiling it takes as long as a small operation."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, or answer it."""
        random = _RANDOM.get(id(func))  # torch keeps each of these; its own hash takes longer
        if random is None:
            random = _RANDOM[id(func)] = operations.is_random(func)
        if not random:
            return func(*args, **kwargs or {})
        given = operations.arguments(func, args, kwargs or {})
        if operations.draws_nothing(func, given):
            return func(*args, **kwargs or {})
        return self.answered(func, given, self._count())

    def answered(self, func: Any, given: operations.Arguments, count: int) -> Any:
        """Return the answer to the random operation of this number."""
        try:
            return operations.answer(func, given, rng.fold(self.keys, count))
        except KeyError:
            raise UnknownRandomness(
                f"draws by {str(func).removesuffix('.default')}, which can't be answered from keys: build it from torch's "
                f"elementary operations, such as {', '.join(list(operations.DRAWS)[:5])} or dropout"
            ) from None

    def _count(self) -> int:
        """Return how many random operations came before, and count this one."""
        generator = torch.default_generator
        count = generator.initial_seed()
        if self.again and count < FIRST:
            raise UnknownRandomness(
                "draws in its backward pass what it drew in its forward pass, without restoring torch's generator: give "
                "torch.utils.checkpoint preserve_rng_state=True"
            )
        if not self.again and count != self.due:
            raise UnknownRandomness("seeds torch's generator by itself: leave out torch.manual_seed, so that its draws differ")
        generator.manual_seed(count + 1)
        self.due = count + 1
        return count - FIRST


_RANDOM: dict[int, bool] = {}
"""Which operations are random, by their identity, once asked."""


@contextmanager
def counting(first: int = FIRST) -> Iterator[None]:
    """Keep the count of random operations in torch's generator, whose own state comes back afterwards."""
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(first)
        yield
    finally:
        torch.set_rng_state(state)
