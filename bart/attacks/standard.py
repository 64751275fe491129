"""Attack with one budget an image, and nothing else to choose: the gradient leads, what it does not reach is searched."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, where
from bart.attacks.dual_averaging import DualAveraging
from bart.attacks.square import Square
from bart.attacks.state import State
from bart.attacks.transfer import Transfer
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal, score

FORWARDS = 3
"""Forward passes that cost about as much as a draw-gradient."""

CHOICE_DRAWS = 10
"""Draws that score an example."""

SCORED_FROM = 100
"""The least budget, in draw-gradients, of which the scores take a small part."""

LEAST_GAIN = 0.05
"""An example whose probability of success is less than this above that of the photograph has not been attacked."""


@dataclass(frozen=True)
class Standard:
    """Go through up to three stages, each with the ball's whole radius.

    gradient    dual averaging on the defense, by `eot`
    transfer    dual averaging on the undefended model, for an eighth of the steps
    search      random squares, from the better example of the other two

    After half of the steps each image is checked. Where all gradients were zero or not finite, or the example's probability of
    success is hardly above the photograph's (`LEAST_GAIN`), gradients do not lead: these images go on to the other stages, and
    keep their best example. All others stay in the first stage to the end. Scores are mean probabilities of success over
    `choice_draws` draws, which neither make nor judge an example; 0 checks the gradients alone.

    A step is `eot.draws` draw-gradients, or up to three times as many forward passes.
    """

    ball: Ball
    steps: int = 40
    eot: Eot = field(default_factory=lambda: Eot(5, "log_odds", unit=True))
    choice_draws: int = CHOICE_DRAWS

    @classmethod
    def of_budget(cls, ball: Ball, budget: int, eot: Eot) -> "Standard":
        """Return the attack whose images cost at most `budget` draw-gradients; where that is less than a step, one step.

        Examples are scored from a budget of `SCORED_FROM` on, or where nothing is random, as one draw suffices then.
        """
        choice = 1 if eot.draws == 1 else CHOICE_DRAWS if budget >= SCORED_FROM else 0
        scores = -(-2 * choice // FORWARDS)
        return cls(ball, max(1, (budget - scores) // eot.draws), eot, choice)

    @property
    def cost(self) -> Cost:
        """Return the cost of an image whose gradients lead."""
        return Cost(self.steps * self.eot.draws, 2 * self.choice_draws)

    @property
    def classes(self) -> int:
        return self._gradient.classes

    @property
    def half(self) -> int:
        """Return the step after which the images are checked."""
        return max(1, self.steps // 2)

    @property
    def transfer_ends(self) -> int:
        """Return the step after which the search begins; that of the check if nothing is random, as nothing is undefended."""
        return min(self.half + (max(1, self.steps // 8) if self.eot.draws > 1 else 0), self.steps)

    @property
    def _gradient(self) -> DualAveraging:
        return DualAveraging(self.ball, self.steps, True, self.eot)

    @property
    def _transfer(self) -> Transfer:
        eot = replace(self.eot, draws=1)
        return Transfer(DualAveraging(self.ball, self.transfer_ends - self.half, True, eot))

    @property
    def _search(self) -> Square:
        return Square(self.ball, max(1, self.steps - self.transfer_ends), max(1, FORWARDS * self.eot.draws // 2))

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start the first stage. Memory: `total` of dual averaging; the `best` example and its `best_score`, -1 if none."""
        state = self._gradient.start(clean, goal, keys)
        own = {"best": clean.clone(), "best_score": clean.new_full((len(clean),), -1.0)}
        return replace(state, memory=state.memory | own)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Make one step of each image's stage. The stage is known by the step at which it began."""
        stages = {0: self._by_gradient, self.half: self._by_transfer, self.transfer_ends: self._by_search}
        began = state.began.host.tolist()
        for at in dict.fromkeys(began):
            index = [i for i, b in enumerate(began) if b == at]
            whole = len(index) == len(state)
            part = stages[at](state if whole else state.rows(index), defended, stack)
            state = part if whole else state.put(index, part)
        return state

    def result(self, state: State) -> Tensor:
        """Return the best example of an image that left the first stage, else the farthest point along the sum."""
        m = state.memory
        return where(m["best_score"] >= 0, m["best"], self._gradient.result(state))

    def _by_gradient(self, state: State, defended: Defended, stack: int) -> State:
        state = self._gradient.step(state, defended, stack)
        due = [i for i, step in enumerate(state.step.host.tolist()) if step == self.half]
        return state.put(due, self._checked(state.rows(due), defended, stack)) if due else state

    def _checked(self, state: State, defended: Defended, stack: int) -> State:
        """Send the images on whose gradients did not lead."""
        example = self._gradient.result(state)
        lost = state.zero + state.nonfinite >= self.half
        gained, spent = torch.zeros_like(state.memory["best_score"]), 0
        if self.choice_draws:
            gained = self._score(state, example, defended, stack)
            lost = lost | (gained - self._score(state, state.clean, defended, stack) < LEAST_GAIN)
            spent = 2 * self.choice_draws
        state = replace(state, forward_evals=state.forward_evals + spent)
        index = lost.nonzero()[:, 0].tolist()
        if not index:
            return state
        part = state.rows(index)
        memory = part.memory | {"best": example[index], "best_score": gained[index]}
        return state.put(index, self._next(replace(part, memory=memory)))

    def _next(self, state: State) -> State:
        """Start the stage after the check: at a random point, or at the best example if nothing is random."""
        state = replace(state, began=state.step)
        if self.transfer_ends == self.half:
            return replace(state, x=state.memory["best"])
        fresh = self._transfer.start(state.clean, state.goal, state.keys.map(rng.fold, "transfer"))
        return replace(state, x=fresh.x, memory=state.memory | fresh.memory)

    def _by_transfer(self, state: State, defended: Defended, stack: int) -> State:
        state = self._transfer.step(state, defended, stack)
        due = [i for i, step in enumerate(state.step.host.tolist()) if step == self.transfer_ends]
        if not due:
            return state
        part = state.rows(due)
        part = self._better(part, self._transfer.result(part), defended, stack)
        return state.put(due, replace(part, x=part.memory["best"], began=part.step))

    def _by_search(self, state: State, defended: Defended, stack: int) -> State:
        state = self._search.step(state, defended, stack)
        due = [i for i, step in enumerate(state.step.host.tolist()) if step == self.steps]
        if not due:
            return state
        part = state.rows(due)
        return state.put(due, self._better(part, self._search.result(part), defended, stack))

    def _better(self, state: State, example: Tensor, defended: Defended, stack: int) -> State:
        """Keep the example where its score is higher than the best."""
        new = self._score(state, example, defended, stack)
        better, m = new > state.memory["best_score"], state.memory
        memory = {"best": where(better, example, m["best"]), "best_score": torch.where(better, new, m["best_score"])}
        return replace(state, forward_evals=state.forward_evals + self._scoring_draws, memory=m | memory)

    @property
    def _scoring_draws(self) -> int:
        return max(1, self.choice_draws)

    def _score(self, state: State, example: Tensor, defended: Defended, stack: int) -> Tensor:
        """Return the mean probability of success of the example as it will be stored, on the same draws at the same step."""
        stored = self.ball.store(example, state.clean).float() / 255
        keys = defended.keys(state.keys, "choice", state.step)
        return score(defended, stored, state.goal, keys, self._scoring_draws, stack)
