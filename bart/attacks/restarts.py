"""Repeat an attack from several starts; each image keeps its best example."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Attack, Cost, where
from bart.attacks.state import State
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal, score


@dataclass(frozen=True)
class Restarts:
    """Run `attack` from `count` starts, one after the other.

    The best example is the one with the highest mean probability of success (`bart.gradient.score`) over `draws` draws. These
    draws neither made the example nor will judge it.
    """

    attack: Attack
    count: int
    draws: int = 20

    @property
    def ball(self) -> Ball:
        return self.attack.ball

    @property
    def steps(self) -> int:
        return self.count * self.attack.steps

    @property
    def cost(self) -> Cost:
        one = self.attack.cost
        return Cost(self.count * one.gradients, self.count * (one.forwards + self.draws))

    @property
    def classes(self) -> int:
        return self.attack.classes

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start the first run, without a best example."""
        first = self.attack.start(clean, goal, keys)
        own = {"restart_best": first.x.clone(), "restart_score": clean.new_full((len(clean),), -1.0)}
        return replace(first, memory=first.memory | own)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Make one step of the running attack; at the end of a run, score its example and start the next run."""
        state = self.attack.step(state, defended, stack)
        ended = [i for i, step in enumerate(state.step.host.tolist()) if step % self.attack.steps == 0]
        return state.put(ended, self._restarted(state.rows(ended), defended, stack)) if ended else state

    def result(self, state: State) -> Tensor:
        """Return the best example of the finished runs; before the first run ends, that of the running one."""
        scored = state.memory["restart_score"] >= 0
        return where(scored, state.memory["restart_best"], self.attack.result(state))

    def _restarted(self, state: State, defended: Defended, stack: int) -> State:
        """Compare each image's example with the best so far, and begin the next run."""
        example = self.attack.result(state)
        stored = self.ball.store(example, state.clean).float() / 255
        keys = defended.keys(state.keys, "restart", state.step)
        new_score = score(defended, stored, state.goal, keys, self.draws, stack)
        better = new_score > state.memory["restart_score"]
        best = where(better, example, state.memory["restart_best"])
        own = {"restart_best": best, "restart_score": torch.where(better, new_score, state.memory["restart_score"])}
        fresh = self.attack.start(state.clean, state.goal, state.keys.map(rng.fold, "restart").map(rng.fold, state.step))
        return replace(
            state,
            x=fresh.x,
            began=state.step,
            forward_evals=state.forward_evals + self.draws,
            memory=fresh.memory | own,
        )
