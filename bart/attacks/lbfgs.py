"""Attack by L-BFGS: find the smallest perturbation that succeeds, by a penalty on its length.

Sources: Szegedy et al., ICLR 2014, section 4.1. The minimiser is that of Liu and Nocedal, Mathematical Programming 1989,
within a box by the two-metric projection of Bertsekas, SIAM J. Control and Optimization 1982: black or white pixels that would
leave [0, 1] are held.
"""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, finite, where
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal, gradient, mean_loss
from bart.losses import LOSSES

PAIRS = 8
"""Pairs (move, change of the gradient along it) that an image remembers: m of the article."""

ENOUGH = 1e-4
"""A trial is accepted if the objective falls by this share of what its slope predicts (Armijo)."""

CURVED = 1e-6
"""A pair is used if the cosine between its move and its change is greater; else the objective is not convex there."""

FACTOR = 10.0
"""The factor by which c rises or falls until one c has succeeded and one has failed."""


@dataclass(frozen=True)
class Lbfgs:
    """Spend `steps` gradients in `searches` rounds; each minimises c |x - clean|^2 - loss over x in [0, 1] for another c.

    The larger c, the smaller the perturbation. c rises after a round whose minimiser succeeds and falls after one whose
    minimiser fails: tenfold, until both have happened; then to the geometric mean of the largest that succeeded and the
    smallest that failed. A round starts from the last minimiser. What is known of the objective's curvature is converted to
    the new c.

    A minimiser needs a function that does not change, so the draws are the same in all steps of an attempt (a restart has
    others). Their mean replaces the expectation, and the example is fitted to them: use many. The same draws decide whether a
    minimiser succeeds: as it would be stored, projected and rounded (the smallest perturbations are less than one level of 8
    bits), its mean margin must be above 0. For one draw this means that the wanted class comes first.

    The ball does not bound the minimiser, only the result. No move is longer than the ball's radius (L2; for L-inf that of its
    corners). If `steps` is not a multiple of `searches`, the last round is longer.

    c           of the first round
    Raises ValueError for fewer steps than searches, no search, or a c that is not positive.
    """

    ball: Ball
    steps: int = 100
    searches: int = 5
    c: float = 1.0
    eot: Eot = field(default_factory=Eot)

    def __post_init__(self) -> None:
        if not 1 <= self.searches <= self.steps:
            raise ValueError(f"searches = {self.searches}: expected at least 1 and at most steps = {self.steps}")
        if not self.c > 0:
            raise ValueError(f"c = {self.c}: expected a positive number")

    @property
    def cost(self) -> Cost:
        return Cost(self.steps * self.eot.draws, self.searches * self.eot.draws)

    @property
    def classes(self) -> int:
        return LOSSES[self.eot.loss].classes

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at the photograph. Memory, per image:

        point       the last accepted iterate; `value` and `slope` are the objective and its gradient there
        moves, changes   the pairs, (n, 8, 3, h, w), newest first
        length      the share of the direction that is tried next
        won, lost   the ends of the search for `c`
        best        the minimiser that is the result; `least` is its distance if it succeeds
        """
        number, none = clean.new_zeros(len(clean)), clean.new_zeros(len(clean), PAIRS, *clean.shape[1:])
        return begin(
            clean,
            clean.clone(),
            goal,
            keys,
            point=clean.clone(),
            slope=torch.zeros_like(clean),
            value=number + torch.inf,
            moves=none,
            changes=none.clone(),
            length=number + 1,
            c=number + self.c,
            won=number.clone(),
            lost=number + torch.inf,
            best=clean.clone(),
            least=number + torch.inf,
        )

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Evaluate the trial point, accept or reject it, end the round if due, and set the next trial point."""
        raw, loss = gradient(defended, state.x, state.goal, self._keys(state, defended), self.eot, stack)
        memory = _tried(state, finite(raw), loss)
        state = state.advanced(state.x, raw, grads=self.eot.draws, memory=memory)
        ages = (state.step.host - state.began.host).tolist()
        ended = [i for i, age in enumerate(ages) if self._ends(age)]
        if ended:
            state = state.put(ended, self._searched(state.rows(ended), defended, stack))
        direction = _direction(state.memory, self._radius(state.x))
        trial = state.memory["point"] + state.memory["length"][:, None, None, None] * direction
        return replace(state, x=trial.clamp(0, 1))

    def _keys(self, state: State, defended: Defended) -> rng.Mirror:
        """Return the keys of the attempt's draws, the same in all its steps."""
        return defended.keys(state.keys, "lbfgs", state.began)

    def _ends(self, age: int) -> bool:
        """Return whether a round ends with this step of the attempt, counted from 1."""
        length = self.steps // self.searches
        return age == self.steps or (age % length == 0 and age // length < self.searches)

    def _radius(self, x: Tensor) -> float:
        """Return the L2 length of the longest allowed move."""
        return self.ball.eps * (math.sqrt(x[0].numel()) if self.ball.norm == "linf" else 1)

    def _searched(self, state: State, defended: Defended, stack: int) -> State:
        """Judge the minimisers at the end of a round, and choose the next c."""
        m = dict(state.memory)
        stored = self.ball.store(self.ball.project(m["point"], state.clean), state.clean).float() / 255
        margin = mean_loss(defended, stored, state.goal, self._keys(state, defended), "margin", self.eot.draws, stack)
        wins, apart = margin > 0, m["point"] - state.clean
        distance = _dot(apart, apart).sqrt()
        closer = wins & (distance < m["least"])
        m["best"] = where(closer | m["least"].isinf(), m["point"], m["best"])  # a failed one, until one succeeds
        m["least"] = torch.where(closer, distance, m["least"])

        m["won"], m["lost"] = torch.where(wins, m["c"], m["won"]), torch.where(wins, m["lost"], m["c"])
        open_end = torch.where(wins, m["c"] * FACTOR, m["c"] / FACTOR)
        c = torch.where((m["won"] > 0) & m["lost"].isfinite(), (m["won"] * m["lost"]).sqrt(), open_end)
        _exchange(m, apart, c)
        return replace(state, forward_evals=state.forward_evals + self.eot.draws, memory=m)

    def result(self, state: State) -> Tensor:
        """Return the minimiser closest to the photograph of those that succeed, else the last one; projected."""
        return self.ball.project(state.memory["best"], state.clean)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each image, (n,)."""
    return (a * b).flatten(1).sum(1)


def _wide(values: Tensor) -> Tensor:
    """Return values (n,) as (n, 1, 1, 1)."""
    return values[:, None, None, None]


def _tried(state: State, ascent: Tensor, loss: Tensor) -> dict[str, Tensor]:
    """Return the memory after the trial point was evaluated.

    If it is accepted, it is the new point and makes a pair. If not, the next trial goes half as far.
    """
    m, apart = dict(state.memory), state.x - state.clean
    value = m["c"] * _dot(apart, apart) - loss
    slope = _wide(2 * m["c"]) * apart - ascent
    move, change = state.x - m["point"], slope - m["slope"]
    accepted = value <= m["value"] + ENOUGH * _dot(m["slope"], move).clamp_max(0)  # NaN is never accepted
    curved = accepted & _curved(move, change)
    for name, new in (("moves", move), ("changes", change)):
        m[name] = where(curved, torch.cat([new[:, None], m[name][:, :-1]], 1), m[name])
    m["point"], m["slope"] = where(accepted, state.x, m["point"]), where(accepted, slope, m["slope"])
    m["value"], m["length"] = torch.where(accepted, value, m["value"]), torch.where(accepted, 1, m["length"] / 2)
    return m


def _curved(move: Tensor, change: Tensor) -> Tensor:
    """Return which pairs show an objective that curves upwards, (n,) bool.

    The first point makes no pair, since it does not move.
    """
    return _dot(move, change) > CURVED * (_dot(move, move) * _dot(change, change)).sqrt()


def _exchange(m: dict[str, Tensor], apart: Tensor, c: Tensor) -> None:
    """Change c. Its term is known, so value, slope and changes are converted to the new objective without an evaluation."""
    more = c - m["c"]
    m["value"] = m["value"] + more * _dot(apart, apart)
    m["slope"] = m["slope"] + _wide(2 * more) * apart
    m["changes"] = m["changes"] + _wide(2 * more)[:, None] * m["moves"]
    m["c"], m["length"] = c, torch.ones_like(c)


def _direction(m: dict[str, Tensor], radius: float) -> Tensor:
    """Return the direction downhill from the point, (n, 3, h, w), at most `radius` long.

    It is the two-loop recursion in the pixels that may move.
    """
    point, slope = m["point"], m["slope"]
    free = ~((point <= 0) & (slope > 0) | (point >= 1) & (slope < 0))
    direction, shares, pairs = -slope * free, [], []
    scale, unknown = 1 / (2 * m["c"]), torch.ones_like(m["c"], dtype=torch.bool)  # the curvature of the penalty
    for k in range(PAIRS):
        move, change = m["moves"][:, k] * free, m["changes"][:, k] * free
        along, good = _dot(move, change), _curved(move, change)
        weight = torch.where(good, 1 / torch.where(good, along, 1), 0)
        scale = torch.where(good & unknown, along / _dot(change, change), scale)
        unknown = unknown & ~good
        share = weight * _dot(move, direction)
        direction = direction - _wide(share) * change
        shares.append(share)
        pairs.append((weight, move, change))
    direction = direction * _wide(scale)
    for share, (weight, move, change) in zip(reversed(shares), reversed(pairs), strict=True):
        direction = direction + _wide(share - weight * _dot(change, direction)) * move
    size = _dot(direction, direction).sqrt()
    return direction * _wide((radius / size.clamp_min(1e-12)).clamp_max(1))
