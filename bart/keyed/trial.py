"""Try out on synthetic images how a function draws: by which operations, and whether each draws a row for each image."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bart import rng
from bart.keyed import generators, operations
from bart.keyed.bounds import clamps
from bart.keyed.mode import FIRST, Answers, UnknownRandomness, counting
from bart.keyed.numbers import NotByRow
from bart.keyed.passes import Function, exactly


class Code(NamedTuple):
    """Hold a function of images, and what it is made of.

    modules   the modules that it runs; how the first one draws is remembered
    around    enter this around each pass, forward and backward, such as hooks of layers
    """

    function: Function
    modules: tuple[nn.Module, ...]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


class Trial(NamedTuple):
    """Hold what a trial showed.

    draws   what was drawn from, and why it is no row for each image; "" if it is
    again   whether the backward pass runs code of the function, such as a part of the forward pass again
    clamps  whether it clamps values
    """

    draws: list[tuple[str, str]]
    again: bool
    clamps: bool


class _Noticing(TorchFunctionMode):
    """Record which functions of torch are called by Python."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Any] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch."""
        if not isinstance(func, torch._ops.OpOverload):  # those come from the other mode
            self.called.append(func)
        return func(*args, **kwargs or {})


class _Recorder(Answers):
    """Answer as `Answers` does, and record each operation; one without a row for each image is answered by the first key."""

    def __init__(self, keys: Tensor, again: bool, seen: list[tuple[str, str]]) -> None:
        super().__init__(keys, again)
        self.seen = seen

    def answered(self, func: Any, given: operations.Arguments, count: int) -> Any:
        """Record and answer one operation."""
        name, reason = str(func).removesuffix(".default"), ""
        try:
            found = super().answered(func, given, count)
        except NotByRow as error:
            shape = tuple(error.args[0])
            reason = f"{name} draws {f'numbers of shape {shape}' if shape else 'one number'} for {len(self.keys)} images"
            found = operations.answer(func, given, rng.fold(self.keys[:1], count))
        self.seen.append((name, reason))
        return found


def trial(code: Code, n: int, x: Tensor) -> Trial:
    """Return what code draws for n synthetic images of the size and device of `x`, forward and backward.

    Raises UnknownRandomness, and what the code raises in its forward pass.
    """
    keys = torch.arange(n, device=x.device)
    known, seen = generators.of(code.modules), list[tuple[str, str]]()
    ahead, back = _Noticing(), _Noticing()
    images = rng.field(keys, tuple(x.shape[1:])).to(x.dtype).requires_grad_()

    @contextmanager
    def watching(backward: bool) -> Iterator[None]:
        with counting(0 if backward else FIRST), code.around(), _Recorder(keys, backward, seen) as recorder:
            with back if backward else ahead:
                yield
            if not backward and not torch.equal(torch.get_rng_state(), _counted(recorder.due)):
                raise UnknownRandomness("draws from torch's generator by compiled code, unseen: draw by torch's own operations")

    with torch.enable_grad(), generators.seeded(known, 0), generators.watched(known) as moved:
        y = exactly(code.function, images, watching)
        if y.requires_grad:
            _backward(y, images)
    drawn = list(dict.fromkeys(generators.named(generator) for generator in moved))
    return Trial(
        seen + [(name, f"{name} knows nothing of images") for name in drawn], bool(back.called), any(map(clamps, ahead.called))
    )


def _backward(y: Tensor, images: Tensor) -> None:
    """Go back through a pass. Raises UnknownRandomness; any other error is the attack's, if it follows gradients."""
    try:
        torch.autograd.grad(y.float().sum(), images, allow_unused=True)
    except UnknownRandomness:
        raise
    except Exception:
        return


def _counted(count: int) -> Tensor:
    """Return the state of torch's generator after this count."""
    return torch.Generator().manual_seed(count).get_state()
