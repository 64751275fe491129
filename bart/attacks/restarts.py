"""An attack several times over, each image keeping its best example."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Attack, Cost, where
from bart.attacks.state import State
from bart.ball import Ball
from bart.defenses.defended import Defended
from bart.gradient import Goal, score


@dataclass(frozen=True)
class Restarts:
    """`attack` from `count` starts, one after the other. The best example is the one with the highest mean probability of
    success (`bart.gradient.score`) over `draws` draws of its own, which neither made it nor will judge it."""

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
        first = self.attack.start(clean, goal, keys)
        own = {"restart_best": first.x.clone(), "restart_score": clean.new_full((len(clean),), -1.0)}
        return replace(first, memory=first.memory | own)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        state = self.attack.step(state, defended, stack)
        over = [i for i, step in enumerate(state.step.host.tolist()) if step % self.attack.steps == 0]
        return state.put(over, self._restarted(state.rows(over), defended, stack)) if over else state

    def result(self, state: State) -> Tensor:
        """The best example of the finished runs; before the first is over, the running one's."""
        scored = state.memory["restart_score"] >= 0
        return where(scored, state.memory["restart_best"], self.attack.result(state))

    def _restarted(self, state: State, defended: Defended, stack: int) -> State:
        """Images at the end of a run: its example compared with the best so far, and the next run begun."""
        example = self.attack.result(state)
        stored = self.ball.store(example, state.clean).float() / 255
        keys = defended.keys(state.keys, "restart", state.step)
        found = score(defended, stored, state.goal, keys, self.draws, stack)
        better = found > state.memory["restart_score"]
        best = where(better, example, state.memory["restart_best"])
        own = {"restart_best": best, "restart_score": torch.where(better, found, state.memory["restart_score"])}
        fresh = self.attack.start(state.clean, state.goal, state.keys.map(rng.fold, "restart").map(rng.fold, state.step))
        return replace(
            state,
            x=fresh.x,
            began=state.step,
            forward_evals=state.forward_evals + self.draws,
            memory=fresh.memory | own,
        )
