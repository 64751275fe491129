"""Attack with one budget an image, and nothing else to choose: the gradient leads, what it does not reach is searched."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bart import draw_keys, rng
from bart.attacks.attack import Cost, where
from bart.attacks.dual_averaging import DualAveraging
from bart.attacks.square import Square
from bart.attacks.state import State
from bart.attacks.transfer import Transfer
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal, forward_draws, score

LOSS = "margin"
"""The loss that the attack ascends: it does not saturate, and on deterministic models it leaves less than the log odds."""

FORWARDS = 3
"""Forward passes that cost about as much as a draw-gradient."""

CHOICE_DRAWS = 10
"""Draws that score an example."""

SCORED_FROM = 100
"""The least budget, in draw-gradients, of which the scores take a small part."""

RUN_STEPS = 100
"""Steps after which a run on a defense without randomness gives way to another, with another aim."""

RUNS = 10
"""The most runs: one at any wrong class, and one at each of the nine likeliest."""

LEAST_GAIN = 0.05
"""An example whose score is less than this above that of the photograph has not been attacked."""


@dataclass(frozen=True)
class Standard:
    """Go through up to three stages, each with the ball's whole radius.

    gradient    dual averaging on the defense, by `eot`, in `runs` runs. The first goes for the goal; the others, from other
                starts, for one of the likeliest wrong classes each, if the goal is any wrong class
    transfer    dual averaging on the undefended model, for an eighth of the steps; not if nothing is random
    search      random squares, from the better example of the other two

    After half of the first run each image is checked. Where all gradients were zero or not finite, or the example's score is
    hardly above the photograph's (`LEAST_GAIN`), gradients do not lead: these images go on to the other stages. All others stay
    in the first stage. Of several examples each image keeps the one with the best score, `bart.gradient.score` over
    `choice_draws` draws, which neither make nor judge an example; 0 checks the gradients alone.

    A step is `eot.draws` draw-gradients, or up to three times as many forward passes.
    """

    ball: Ball
    steps: int = 40
    eot: Eot = field(default_factory=lambda: Eot(5, LOSS, unit=True))
    choice_draws: int = CHOICE_DRAWS
    runs: int = 1

    @classmethod
    def of_budget(cls, ball: Ball, budget: int, eot: Eot) -> "Standard":
        """Return the attack whose images cost at most `budget` draw-gradients; where that is less than a step, one step.

        Randomness: one run, as a longer one gains more than a second; examples are scored from a budget of `SCORED_FROM` on.
        Without (`eot.draws` = 1): as many runs as have `RUN_STEPS`, at most `RUNS`; one draw scores.
        """
        if eot.draws > 1:
            choice = CHOICE_DRAWS if budget >= SCORED_FROM else 0
            return cls(ball, max(1, (budget - _in_gradients(2 * choice)) // eot.draws), eot, choice)
        runs = min(RUNS, max(1, budget // RUN_STEPS))
        return cls(ball, max(1, budget - _in_gradients(2 + (2 * runs - 1 if runs > 1 else 0))), eot, 1, runs)

    @property
    def cost(self) -> Cost:
        """Return the cost of an image whose gradients lead."""
        scores = 2 * self.choice_draws + (self.runs * self._scoring_draws + self.runs - 1 if self.runs > 1 else 0)
        return Cost(self.steps * self.eot.draws, scores)

    @property
    def classes(self) -> int:
        return self._run(0).classes

    @property
    def half(self) -> int:
        """Return the step after which the images are checked."""
        return max(1, self._ends(0) // 2)

    @property
    def transfer_ends(self) -> int:
        """Return the step after which the search begins; that of the check if nothing is random, as nothing is undefended."""
        return min(self.half + (max(1, self.steps // 8) if self.eot.draws > 1 else 0), self.steps)

    def _ends(self, run: int) -> int:
        """Return the step after which a run ends; -1 is before the first."""
        return self.steps if run == self.runs - 1 else (run + 1) * (self.steps // self.runs)

    def _run(self, run: int) -> DualAveraging:
        return DualAveraging(self.ball, self._ends(run) - self._ends(run - 1), True, self.eot)

    @property
    def _transfer(self) -> Transfer:
        eot = replace(self.eot, draws=1)
        return Transfer(DualAveraging(self.ball, self.transfer_ends - self.half, True, eot))

    @property
    def _search(self) -> Square:
        return Square(self.ball, max(1, self.steps - self.transfer_ends), max(1, FORWARDS * self.eot.draws // 2))

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start the first run.

        Memory: `total` of dual averaging; `aim` (n,), the target of the run, -1 for any wrong class; the `best` example and its
        `best_score`, -1 if none.
        """
        state = self._run(0).start(clean, goal, keys)
        own = {"aim": goal.target.clone(), "best": clean.clone(), "best_score": clean.new_full((len(clean),), -1.0)}
        return replace(state, memory=state.memory | own)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Make one step of each image's stage. The stage, and the run, are known by the step at which they began."""
        began = state.began.host.tolist()
        for at in dict.fromkeys(began):
            index = [i for i, b in enumerate(began) if b == at]
            whole = len(index) == len(state)
            part = self._step(at, state if whole else state.rows(index), defended, stack)
            state = part if whole else state.put(index, part)
        return state

    def _step(self, began: int, state: State, defended: Defended, stack: int) -> State:
        """Make one step of images whose stage or run began at the same step."""
        if began == self.transfer_ends:
            return self._by_search(state, defended, stack)
        if began == self.half:
            return self._by_transfer(state, defended, stack)
        return self._by_gradient(0 if began == 0 else began // self._ends(0), state, defended, stack)

    def result(self, state: State) -> Tensor:
        """Return the best example of an image that has a score, else the farthest point along the sum."""
        m = state.memory
        return where(m["best_score"] >= 0, m["best"], self._run(0).result(state))

    def _by_gradient(self, run: int, state: State, defended: Defended, stack: int) -> State:
        goal, attack = state.goal, self._run(run)
        state = attack.step(replace(state, target=state.memory["aim"]), defended, stack)
        state = replace(state, target=goal.target)
        if run == 0:
            state = _at(self.half, state, lambda due: self._checked(due, defended, stack))
        if self.runs == 1:
            return state
        return _at(self._ends(run), state, lambda due: self._ended(run, due, defended, stack))

    def _checked(self, state: State, defended: Defended, stack: int) -> State:
        """Send the images on whose gradients did not lead."""
        example = self._run(0).result(state)
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
        return state.put(index, self._sent_on(replace(part, memory=memory)))

    def _sent_on(self, state: State) -> State:
        """Start the stage after the check: at a random point, or at the best example if nothing is random."""
        state = replace(state, began=state.step)
        if self.transfer_ends == self.half:
            return replace(state, x=state.memory["best"])
        fresh = self._transfer.start(state.clean, state.goal, state.keys.map(rng.fold, "transfer"))
        return replace(state, x=fresh.x, memory=state.memory | fresh.memory)

    def _ended(self, run: int, state: State, defended: Defended, stack: int) -> State:
        """Keep the example of a run if it is the best, and start the next run."""
        state = self._better(state, self._run(run).result(state), defended, stack)
        if run == self.runs - 1:
            return state
        keys = state.keys.map(rng.fold, "run").map(rng.fold, state.step)
        fresh = self._run(run + 1).start(state.clean, state.goal, keys)
        memory = state.memory | fresh.memory | {"aim": self._aim(run, state, defended, stack)}
        return replace(state, x=fresh.x, began=state.step, forward_evals=state.forward_evals + 1, memory=memory)

    def _aim(self, rank: int, state: State, defended: Defended, stack: int) -> Tensor:
        """Return the target of a goal that has one; else the wrong class of this rank, from 0, by the logits of one draw at the
        photograph, or -1 if there are fewer.
        """
        keys = draw_keys.to_attack(defended.keys(state.keys, "aim"), 1)
        with torch.no_grad():
            logits = torch.cat([part[:, 0] for _, _, part in forward_draws(defended, state.clean, keys, 1, stack)])
        if rank >= logits.shape[1] - 1:
            return state.goal.target
        wrong = logits.scatter(1, state.goal.label[:, None], -torch.inf).argsort(stable=True, dim=1, descending=True)
        return torch.where(state.goal.target >= 0, state.goal.target, wrong[:, rank])

    def _by_transfer(self, state: State, defended: Defended, stack: int) -> State:
        def ended(due: State) -> State:
            due = self._better(due, self._transfer.result(due), defended, stack)
            return replace(due, x=due.memory["best"], began=due.step)

        return _at(self.transfer_ends, self._transfer.step(state, defended, stack), ended)

    def _by_search(self, state: State, defended: Defended, stack: int) -> State:
        state = self._search.step(state, defended, stack)
        return _at(self.steps, state, lambda due: self._better(due, self._search.result(due), defended, stack))

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
        """Return the score of the example as it will be stored, on the same draws at the same step."""
        stored = self.ball.store(example, state.clean).float() / 255
        keys = defended.keys(state.keys, "choice", state.step)
        return score(defended, stored, state.goal, keys, self._scoring_draws, stack)


def _at(step: int, state: State, then: Callable[[State], State]) -> State:
    """Change the images that have made `step` steps."""
    due = [i for i, made in enumerate(state.step.host.tolist()) if made == step]
    return state.put(due, then(state.rows(due))) if due else state


def _in_gradients(forwards: int) -> int:
    """Return the draw-gradients that cost as much as these forward passes, rounded up."""
    return -(-forwards // FORWARDS)
