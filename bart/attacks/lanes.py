"""Run an attack over a queue of images in a fixed number of lanes. A free lane takes the next image at once."""

from dataclasses import dataclass, replace

import torch

from bart import rng
from bart.attacks.attack import Attack
from bart.attacks.state import State
from bart.defenses import Defended
from bart.verdict import broken


@dataclass(frozen=True)
class Break:
    """Say when an image leaves before its budget is spent: when its 8-bit example succeeds in all of `draws` fresh draws.

    This is checked every `every` steps. Without a Break every image runs to the end: the strongest example for the budget.
    """

    draws: int = 10
    every: int = 1


def _running(state: State, attack: Attack) -> list[int]:
    """Return the images with work left, in order. The host knows them, so this never waits for the device."""
    progress = zip(state.step.host.tolist(), state.left.host.tolist(), strict=True)
    return [i for i, (step, left) in enumerate(progress) if step < attack.steps and left < 0]


def over(state: State, attack: Attack) -> bool:
    """Return whether no image has work left."""
    return not _running(state, attack)


def step(attack: Attack, state: State, defended: Defended, stack: int, width: int, first_break: Break | None = None) -> State:
    """Return the state after one step of the first `width` images that have work left.

    So the lane of a finished image goes to the next one. `state` holds all images, at any steps, as a checkpoint does. The
    result for an image does not depend on other images or on `width`; on `stack` by rounding alone, and only where the draws
    of a gradient do not fit in it. Pure.
    """
    running = _running(state, attack)[:width]
    whole = len(running) == len(state)  # then nothing has to be selected or copied
    active = attack.step(state if whole else state.rows(running), defended, stack)
    if first_break:
        active = _left(attack, active, defended, stack, first_break)
    return active if whole else state.put(running, active)


def _left(attack: Attack, state: State, defended: Defended, stack: int, rule: Break) -> State:
    """Mark the images that succeed as left.

    The host has to know which, so this waits for the device: once a step, in this mode only.
    """
    due = [i for i, step in enumerate(state.step.host.tolist()) if step % rule.every == 0]
    if not due:
        return state
    active = state.rows(due)
    stored = attack.ball.store(attack.result(active), active.clean)
    keys = defended.keys(active.keys, "break", active.step)
    success = broken(defended, stored, active.goal, keys, rule.draws, stack)
    success_mirror = rng.Mirror.of(success, active.x.device)
    left = active.left.map(lambda left, step, success: torch.where(success, step, left), active.step, success_mirror)
    return state.put(due, replace(active, left=left, forward_evals=active.forward_evals + rule.draws))
