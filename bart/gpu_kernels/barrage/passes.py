"""Take one stack through its barrages, round by round, and its gradient back.

Images enter into places of their own, each launch reads and writes by its table, and they leave at the end. Between entering
and leaving nothing depends on where the caller's tensors are, so it can be recorded.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.functional import pad

from bart import recording, rng
from bart.gpu_kernels.barrage.plan import POINTWISE, Plan
from bart.gpu_kernels.barrage.streams import SLOW, branches
from bart.gpu_kernels.barrage.tables import Tables, layout_of, versions
from bart.gpu_kernels.common.moves import collect, mask, move, spread
from bart.gpu_kernels.common.part import Part, Saved, whole_table
from bart.gpu_kernels.pointwise import kernel as pointwise
from bart.types import Params, apart


def queued(unit: str, work: Callable[..., Saved | None], *arguments: object) -> Saved | None:
    """Queue the launches of a unit; here every one of them passes."""
    return work(*arguments)


class Pass:
    """Hold the memory of a pass over a stack, and make it.

    keys, orders    (n,) int64 on the device: of the parameters, and of the transforms and their order
    """

    def __init__(self, plan: Plan, keys: Tensor, orders: Tensor) -> None:
        self.plan, self.keys, self.orders = plan, keys, orders
        self.layout, k = layout_of(plan), plan.barrage.k
        self.enter = whole_table(plan.n, plan.device)
        recording.keep(self.layout, self.enter)
        shape = (3, *plan.size)
        self.pool = torch.empty((versions(plan) * plan.n, *shape), device=plan.device, dtype=torch.float32)
        self.inside = torch.empty(((k + 1) * plan.n, *shape), dtype=torch.uint8, device=plan.device)
        self.forth: Callable[[], None] = self.rounds
        self.back: Callable[[], None] = self.rounds_back

    def record(self, recorded: Callable[..., Sequence[Callable[[], None]]]) -> None:
        """Replace the rounds in both directions by what `recorded` makes of them."""
        if self.plan.graded:
            self.forth, self.back = recorded(self.rounds, self.rounds_back)
        else:
            (self.forth,) = recorded(self.rounds)

    def forward(self, x: Tensor) -> Tensor:
        """Return the images x (n, 3, h, w), or grey ones (n, 1, h, w), after their barrages."""
        entry = self.pool[(1 + self.plan.graded) * self.plan.n :]
        move(self.enter, x.expand(-1, 3, -1, -1).contiguous(), entry, self.inside, True)
        self.forth()
        y = torch.empty((len(x), *self.pool.shape[1:]), device=x.device, dtype=torch.float32)
        move(self.tables.leave, self.pool, y, self.inside, False)
        return y[:, : x.shape[1]]

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of x, in its shape, from that of the result."""
        if self.plan.grey:
            gradient = pad(gradient, (0, 0, 0, 0, 0, 2))
        mask(self.tables.enter_back, gradient.contiguous(), self.pool, self.inside)
        self.back()
        return self._gradients(0).sum(1, keepdim=True) if self.plan.grey else self._gradients(0).clone()

    def _gradients(self, number: int) -> Tensor:
        """Return the gradients before a round, (n, 3, h, w): even rounds have one place, odd ones another."""
        start = number % 2 * self.plan.n
        return self.pool[start : start + self.plan.n]

    def _marks(self, number: int) -> Tensor:
        """Return where clipping changed nothing before a round, (n, 3, h, w)."""
        return self.inside[number * self.plan.n : (number + 1) * self.plan.n]

    def rounds(self) -> None:
        """Draw, and queue the launches of all rounds, those of each crew on a stream of its own."""
        self.tables: Tables = self.layout.tables(self.plan.barrage.select(self.orders))
        self.params = self._drawn()
        self.saved: dict[tuple[int, int, str], Saved] = {}
        with branches(self.plan.device) as on:
            for crew in range(self.plan.crews):
                with on(crew):
                    for number in range(self.plan.barrage.k):
                        self._round(crew, number)

    def _round(self, crew: int, number: int) -> None:
        """Queue the launches of a round of a crew."""
        with branches(self.plan.device) as on:
            for unit, span in self.layout.forward.spans(crew, number):
                table, marks = self.tables.forward[number, span], self._marks(number + 1)
                part = Part(table, self.pool, self.pool, marks, True, self.params[unit])
                work = pointwise.forward if unit == POINTWISE else self.plan.kernels[unit].forward
                with on((crew, SLOW[unit])) if unit in SLOW else nullcontext():
                    self.saved[crew, number, unit] = queued(unit, work, part) or ()
        if self.tables.met is not None:
            spread(self.tables.met[number, self.layout.rows[crew]], self.pool, self._marks(number + 1))

    def rounds_back(self) -> None:
        """Queue the launches of all rounds in the reverse order."""
        with branches(self.plan.device) as on:
            for crew in range(self.plan.crews):
                with on(crew):
                    for number in reversed(range(self.plan.barrage.k)):
                        self._round_back(crew, number)

    def _round_back(self, crew: int, number: int) -> None:
        """Queue the launches of a round of a crew in the backward pass."""
        assert self.tables.backward is not None and self.layout.backward is not None
        marks, incoming, outgoing = self._marks(number), self._gradients(number + 1), self._gradients(number)
        if self.tables.met is not None:
            collect(self.tables.met[number, self.layout.rows[crew]], incoming)
        with branches(self.plan.device) as on:
            for unit, span in self.layout.backward.spans(crew, number):
                table, params = self.tables.backward[number, span], self.params[unit]
                part = Part(table, self.pool, outgoing, marks, True, params, incoming)
                work = pointwise.backward if unit == POINTWISE else self.plan.kernels[unit].backward
                assert work is not None
                with on((crew, SLOW[unit])) if unit in SLOW else nullcontext():
                    queued(unit, work, part, self.saved.get((crew, number, unit), ()))

    def _drawn(self) -> dict[str, Params]:
        """Return the parameters of each unit, drawn for all images: each depends on its image's key alone."""
        drawn = {
            name: transform.draw(rng.fold(self.keys, name), self.plan.size)
            for name, transform in self.plan.barrage.chosen_from.items()
        }
        if self.plan.grey:
            drawn = {name: apart(params) for name, params in drawn.items()}
        contiguous = {name: {key: value.contiguous() for key, value in params.items()} for name, params in drawn.items()}
        return contiguous | {POINTWISE: pointwise.records(contiguous, self.keys)}
