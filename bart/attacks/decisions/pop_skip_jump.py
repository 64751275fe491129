"""Attack by walking along the boundary of a class, from decisions that are noisy.

Sources: Chen, Jordan, Wainwright, S&P 2020 (HopSkipJump); Simon-Gabriel, Sheikh, Krause, ICML 2021 (PopSkipJump, which expects
a classifier that answers by chance).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from bart import draw_keys, rng
from bart.attacks.attack import Cost, where
from bart.attacks.decisions import noisy_search
from bart.attacks.state import State, begin
from bart.ball import NORMS, Ball
from bart.defenses import Defended
from bart.gradient import Goal, forward_draws

STARTS, START_DRAWS = 12, 4
"""Images from which the first step chooses the one that is wrong most often, and draws for each."""

BLOCKS = 4
"""Blocks along a side of a start of blocks."""

REACH = (0.01, 0.03)
"""How far a direction is tried, along the slope, as a share of the distance: the width of the boundary, within these limits."""

_TINY = 1e-12


@dataclass(frozen=True)
class PopSkipJump:
    """Take `steps` steps, each from the boundary between right and wrong to a nearer point of it.

    A step finds the boundary between the photograph and the iterate by `noisy_search`, asks at `queries` random points around
    it, and goes towards where the answer is wrong more often. Every question is one fresh draw, whose first class alone counts.
    The example is in the direction of the nearest point of the boundary, as far as the ball goes.

    It starts from random images, which are rarely of a given class: a targeted attack hardly succeeds.
    Raises ValueError for a ball of another norm than L-inf and L2.
    """

    ball: Ball
    steps: int = 50
    queries: int = 100

    def __post_init__(self) -> None:
        if self.ball.norm not in ("linf", "l2"):
            raise ValueError(f"norm {self.ball.norm!r}: PopSkipJump attacks in linf or l2")

    @property
    def cost(self) -> Cost:
        return Cost(0, STARTS * START_DRAWS + self.steps * (noisy_search.QUESTIONS + self.queries))

    @property
    def classes(self) -> int:
        return 2

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at the photograph, from which the first step goes to a random image. Memory, per image:

        nearest     the nearest point of the boundary so far
        distance    its distance, in the norm of the ball
        """
        far = clean.new_full((len(clean),), torch.inf)
        return begin(clean, clean.clone(), goal, keys, nearest=clean.clone(), distance=far)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Find the boundary on the way to the iterate, and jump from there."""
        new = [i for i, (step, began) in enumerate(zip(state.step.host, state.began.host, strict=True)) if step == began]
        if new:
            state = state.put(new, _begun(state.rows(new), defended, stack))

        def ask(places: Tensor, first: int) -> Tensor:
            return _wrong(state, defended, stack, torch.stack([self._between(state, place) for place in places]), first)

        place, width = noisy_search.search(ask, len(state), state.x.device)
        edge = self._between(state, place)
        jump = self._jump(state, edge, width, defended, stack)

        m, distance = state.memory, NORMS[self.ball.norm].size(edge - state.clean)
        nearer = distance < m["distance"]
        memory = {"nearest": where(nearer, edge, m["nearest"]), "distance": torch.where(nearer, distance, m["distance"])}
        length = distance / (state.age + 1).float().sqrt()
        x = (edge + length[:, None, None, None] * self.ball.steepest(jump)).clamp(0, 1)
        return state.advanced(x, forwards=noisy_search.QUESTIONS + self.queries, memory=memory)

    def result(self, state: State) -> Tensor:
        """Return the point of the ball in the direction of the nearest point of the boundary; the photograph at first."""
        delta = state.memory["nearest"] - state.clean
        longer = (self.ball.eps / NORMS[self.ball.norm].size(delta).clamp_min(_TINY)).clamp(1, 1 / _TINY)
        return self.ball.project(state.clean + longer[:, None, None, None] * delta, state.clean)

    def _between(self, state: State, place: Tensor) -> Tensor:
        """Return the point at `place` (n,) of the way from the photograph, 0, to the iterate, 1, and beyond.

        In L-inf the way to the iterate is that of projections onto growing balls.
        """
        delta, place = state.x - state.clean, place[:, None, None, None]
        if self.ball.norm == "linf":
            most = place * delta.abs().amax((1, 2, 3), keepdim=True)
            moved = torch.where(place < 1, delta.clamp(-most, most), place * delta)
        else:
            moved = place * delta
        return (state.clean + moved).clamp(0, 1)

    def _jump(self, state: State, edge: Tensor, width: Tensor, defended: Defended, stack: int) -> Tensor:
        """Return the direction from the boundary in which the answer is wrong more often, (n, 3, h, w).

        It is the covariance of answers, +1 or -1, and random directions; where all answers agree, their mean times the answer.
        """
        n, shape = len(state), tuple(state.x.shape[1:])
        away = (edge - state.clean).flatten(1).norm(dim=1)
        reach = (away * width.clamp(*REACH))[:, None, None, None]
        seeds = rng.fold(rng.fold(state.keys.device, "direction"), state.step.device)
        answers, directions, both = (torch.zeros_like(state.x) for _ in range(3))
        together = max(1, stack // n)
        for first in range(0, self.queries, together):
            fields = [rng.normal_field(seeds, shape, i) for i in range(first, min(first + together, self.queries))]
            points = (edge + reach * torch.stack(fields)).clamp(0, 1)
            wrong = _wrong(state, defended, stack, points, noisy_search.QUESTIONS + first)
            for point, answer in zip(points, torch.where(wrong, 1.0, -1.0).float(), strict=True):  # the same sum for any stack
                direction, sign = (point - edge) / reach.clamp_min(_TINY), answer[:, None, None, None]
                answers, directions, both = answers + sign, directions + direction, both + sign * direction
        mean = answers / self.queries
        return torch.where(mean.abs() == 1, mean * directions, both - mean * directions)


def _begun(state: State, defended: Defended, stack: int) -> State:
    """Return the state at the start that is wrong most often."""
    starts = _starts(state)
    points = starts.repeat_interleave(START_DRAWS, 0)
    wrong = _wrong(state, defended, stack, points, 1 << 30).view(STARTS, START_DRAWS, -1).sum(1)  # no question of a step
    best = starts[wrong.argmax(0), torch.arange(len(state), device=wrong.device)]
    return replace(state, x=best, forward_evals=state.forward_evals + STARTS * START_DRAWS)


def _starts(state: State) -> Tensor:
    """Return images far from the photographs, (`STARTS`, n, 3, h, w), four kinds in turn: one colour, noise, blocks of pure
    colours, and the negative with noise.
    """
    seeds = rng.fold(rng.fold(state.keys.device, "start"), state.step.device)
    size, found = (state.x.shape[-2], state.x.shape[-1]), []
    for i in range(0, STARTS, 4):
        noise, blocks = rng.field(seeds, (3, *size), i), (rng.field(seeds, (3, BLOCKS, BLOCKS), i + 1) < 0.5).float()
        colour = rng.field(seeds, (3, 1, 1), i + 2).expand_as(noise)
        negative = (2 * (1 - state.clean) + rng.field(seeds, (3, *size), i + 3)) / 3
        found += [colour, noise, functional.interpolate(blocks, size), negative]
    return torch.stack(found)


def _wrong(state: State, defended: Defended, stack: int, points: Tensor, first: int) -> Tensor:
    """Return whether each of the `points` (q, n, 3, h, w) is wrong, or of the target's class, in one draw: (q, n) bool.

    first       the number of this step's draws before: no two have the same key
    """

    def spread(side: Tensor) -> Tensor:
        return rng.fold(side[None], torch.arange(first, first + len(points), device=side.device)[:, None]).flatten()

    goal = Goal(state.label.repeat(len(points)), state.target.repeat(len(points)))
    keys = draw_keys.to_attack(defended.keys(state.keys, "step", state.step).map(spread), 1)
    found = forward_draws(defended, points.flatten(0, 1), keys, 1, stack)
    classes = torch.cat([logits.argmax(2)[:, 0] for _, _, logits in found])
    return torch.where(goal.target >= 0, classes == goal.target, classes != goal.label).view(len(points), -1)
