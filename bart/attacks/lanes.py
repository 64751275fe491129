"""Running an attack over a queue of images: a fixed number of lanes, and a free lane takes the next image at once."""

from dataclasses import dataclass, replace

import torch

from bart import rng
from bart.attacks.attack import Attack
from bart.attacks.state import State
from bart.defenses.defended import Defended
from bart.verdict import broken


@dataclass(frozen=True)
class Break:
    """When an image leaves before its budget is spent: when all of `draws` fresh draws find its 8-bit example won, looked at
    every `every` steps. (Without one, every image runs to the end: the strongest example that the budget buys.)"""

    draws: int = 10
    every: int = 1


def _running(state: State, attack: Attack) -> list[int]:
    """The images with work left, in order. Known to the host: no wait."""
    places = zip(state.step.host.tolist(), state.left.host.tolist(), strict=True)
    return [i for i, (step, left) in enumerate(places) if step < attack.steps and left < 0]


def over(state: State, attack: Attack) -> bool:
    """Whether no image has work left."""
    return not _running(state, attack)


def step(attack: Attack, state: State, defended: Defended, stack: int, width: int, first_break: Break | None = None) -> State:
    """One step of the first `width` images that have work left: so the lane of an image that is through goes to the next.

    `state` holds all images, at any steps, such as a checkpoint's. What happens to an image depends on no other, nor on `width`
    or `stack`. Pure.
    """
    now = _running(state, attack)[:width]
    whole = len(now) == len(state)  # then there is nothing to pick out, and nothing to copy
    some = attack.step(state if whole else state.rows(now), defended, stack)
    if first_break:
        some = _left(attack, some, defended, stack, first_break)
    return some if whole else state.put(now, some)


def _left(attack: Attack, state: State, defended: Defended, stack: int, rule: Break) -> State:
    """The images that are won leave. The host has to know which: the one wait of a step, in this mode only."""
    due = [i for i, step in enumerate(state.step.host.tolist()) if step % rule.every == 0]
    if not due:
        return state
    some = state.rows(due)
    stored = attack.ball.store(attack.result(some), some.clean)
    keys = defended.keys(some.keys, "break", some.step)
    won = broken(defended, stored, some.goal, keys, rule.draws, stack)
    seen = rng.Mirror.of(won, some.x.device)
    left = some.left.map(lambda left, step, won: torch.where(won, step, left), some.step, seen)
    return state.put(due, replace(some, left=left, forward_evals=some.forward_evals + rule.draws))
