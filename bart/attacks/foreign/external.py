"""Run a function of others as an attack: of another library, or a user's own. Its examples are judged as all are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bart import rng
from bart.attacks.attack import Cost
from bart.attacks.foreign.fresh_draws import FreshDraws
from bart.attacks.foreign.given import DISTANCE, taken
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal
from bart.keyed.generators import of, seeded

Function = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, images (n, 3, h, w) in [0, 1], labels (n,)) -> examples (n, 3, h, w) in [0, 1]."""


@dataclass(frozen=True)
class External:
    """Let `function` make the examples: one step, with no checkpoint inside.

    It gets a `FreshDraws` module, so it attacks by draws that judge nothing, and the draws that it takes are counted. Global
    generators of torch, NumPy and Python are seeded from the images' keys around the call, and restored after it.

    name    of the function, for messages
    draws   draws of one call of the module, whose logits are averaged
    batch   images that it gets at once. With 1 an example depends on its image alone; with more it may depend on the others
    guess   what it costs an image, about, for plans
    policy  how transforms are differentiated
    Raises RuntimeError where the function raises, ValueError where what it returns are no examples.
    """

    ball: Ball
    function: Function
    name: str = "the function"
    draws: int = 1
    batch: int = 1
    guess: int = 100
    policy: str = "combo"
    steps: int = 1

    @property
    def cost(self) -> Cost:
        return Cost(self.guess)

    @property
    def classes(self) -> int:
        return 2

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at the image itself."""
        return begin(clean, clean.clone(), goal, keys, **{DISTANCE: clean.new_full((len(clean),), -1.0)})

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Return the state at the examples of the function, moved into the ball."""
        keys = defended.keys(state.keys, "external", state.step)
        at_once = 1 if defended.frozen else self.batch
        examples, spent = [], list[Cost]()
        for first in range(0, len(state), at_once):
            cut = slice(first, min(first + at_once, len(state)))
            own = (state if defended.frozen else replace(state, keys=keys)).keys.host[cut].tolist()
            model = FreshDraws(defended, own[0] if len(own) == 1 else rng.key(*own), self.draws, stack, self.policy, self.ball)
            examples.append(self._made(model, state.clean[cut], state.label[cut]))
            spent += shared(model.spent, len(own))
        found = taken(state, torch.cat(examples), self.ball)
        grads, forwards = torch.tensor(spent, dtype=torch.int64, device=state.x.device).T
        found = found.advanced(found.x)
        return replace(found, grad_evals=found.grad_evals + grads, forward_evals=found.forward_evals + forwards)

    def _made(self, model: FreshDraws, clean: Tensor, label: Tensor) -> Tensor:
        """Return the function's examples of some images, checked. Random starts depend on how images lie in memory."""
        own = clean.clone(memory_format=torch.contiguous_format)
        with repeatable(model.key, clean.device), torch.enable_grad():
            try:
                made = self.function(model, own, label.clone())
            except (torch.OutOfMemoryError, MemoryError):  # fewer draws at once may fit
                raise
            except Exception as error:  # a stranger's function may raise anything
                reason = " ".join(str(error).split())[:200]
                raise RuntimeError(f"external attack {self.name} raised {type(error).__name__}: {reason}") from error
        expected = f"expected the examples, a float tensor {tuple(clean.shape)} in [0, 1]"
        if not isinstance(made, Tensor) or not made.is_floating_point():
            kind = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(f"external attack {self.name} returned {kind}: {expected}")
        if made.shape != clean.shape:
            raise ValueError(f"external attack {self.name} returned {tuple(made.shape)}: {expected}")
        if not made.isfinite().all():
            raise ValueError(f"external attack {self.name} returned NaN or infinite values: {expected}")
        return made.detach().to(clean)

    def result(self, state: State) -> Tensor:
        """Return the example, or the image itself before the step."""
        return state.x


def shared(spent: Cost, images: int) -> list[Cost]:
    """Return what each of `images` images has of draws that were spent together; the sum is exact."""
    parts = [[total // images + (i < total % images) for i in range(images)] for total in spent]
    return [Cost(*pair) for pair in zip(*parts, strict=True)]


@contextmanager
def repeatable(key: int, device: torch.device) -> Iterator[None]:
    """Set the global generators of torch, Python and NumPy by a key, and restore them at the end."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), seeded(of(()), key % (1 << 64)):
        torch.manual_seed(key % (1 << 63))
        yield
