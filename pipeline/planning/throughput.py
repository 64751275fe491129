"""Measure how fast a device does the work of a cell: a few seconds of the cell's own attack and its own verdict."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import Defended, Eot, Goal, Mirror, judge, key, lanes
from bart.gradient import gradient
from pipeline.config.campaign import Cell
from pipeline.planning import cost

SECONDS = 3.0
"""How long each is measured, after a first time that does not count."""

LEAST = 3
"""Times that each is measured at least, however long it takes: one barrage costs more than another."""

_FREE = {"eps", "norm", "goal", "steps", "step_size", "eot_draws", "mode", "break_draws", "break_every", "random_start"}
"""Settings of an attack that change what it does, but not how long a draw takes."""


@dataclass(frozen=True)
class Speed:
    """Hold how fast one device is."""

    attack: float
    """Draw-gradients a second of the attack; see `pipeline.planning.cost`."""
    verdict: float
    """Draws judged a second."""
    error: float = 0.0
    """Relative standard error of `attack`."""


def alike(cell: Cell) -> str:
    """Return a text that is the same for all cells whose speed is the same."""
    attack = cell.attack.model_dump_json(exclude=_FREE)
    return f"{cell.model_name} {cell.defense_name} {cell.crop} {attack}"


def rate(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None = None) -> float:
    """Return the draw-gradients a second of a cell's attack on a device, `stack` draws at a time.

    `images` (n, 3, crop, crop) in [0, 1]; default: a smooth one.
    """
    return (
        _attack(defended, cell, stack, device, images)[0]
        if cell.built.steps
        else _verdict(defended, cell, stack, device, images) * cost.FORWARD
    )


def speed(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None = None) -> Speed:
    """Return the speed of a cell's attack and of its verdict; arguments as of `rate`."""
    judged = _verdict(defended, cell, stack, device, images)
    attack, error = _attack(defended, cell, stack, device, images) if cell.built.steps else (judged * cost.FORWARD, 0.0)
    return Speed(attack, judged, error)


def _verdict(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None) -> float:
    """Return the draws judged a second."""
    x = (255 * _batch(images, max(1, stack // cell.judged_by), cell.crop, device)).round().to(torch.uint8)
    draws = min(cell.judged_by, stack)

    def verdict(repeat: int) -> None:
        judge(defended, x, _keys(len(x), repeat, device), draws, stack)

    return len(x) * draws / statistics.mean(timed(verdict, device))


def _attack(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None) -> tuple[float, float]:
    """Return the draw-gradients a second, and their relative standard error."""
    few = cell.attack.model_copy(update={"eot_draws": min(cell.attack.eot_draws, 2 * stack)})  # as costly a draw
    short = cell.model_copy(update={"attack": few})
    attack = short.built
    count = max(1, stack // short.eot_draws)
    x = _batch(images, min(count, cell.attack.at_once or count), cell.crop, device)
    label = torch.zeros(len(x), dtype=torch.int64, device=device)
    _warm_up(defended, x[:1], label[:1], device)
    state = attack.start(x, Goal(label, label - 1), _keys(len(x), 0, device))

    def step(repeat: int) -> None:
        nonlocal state
        if lanes.over(state, attack):
            state = attack.start(x, Goal(label, label - 1), _keys(len(x), repeat, device))
        state = lanes.step(attack, state, defended, stack, len(x))

    seconds = timed(step, device)
    mean = statistics.mean(seconds)
    error = statistics.stdev(seconds) / math.sqrt(len(seconds)) / mean
    return len(x) * cost.of_attack(short) / attack.steps / mean, error


def _warm_up(defended: Defended, x: Tensor, label: Tensor, device: torch.device) -> None:
    """Send an image through every part: each is compiled when it is first used, and any draw may be the first."""
    for part in defended.defense.alone():
        gradient(replace(defended, defense=part), x, Goal(label, label - 1), _keys(1, 0, device), Eot(1), 1)


def timed(once: Callable[[int], None], device: torch.device) -> list[float]:
    """Return the seconds of each call of `once`, which gets the number of the call; the first call does not count."""
    seconds: list[float] = []
    once(0)
    while len(seconds) < LEAST or sum(seconds) < SECONDS:
        _wait(device)
        began = time.perf_counter()
        once(len(seconds) + 1)
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return seconds


def _batch(images: Tensor | None, count: int, side: int, device: torch.device) -> Tensor:
    """Return `count` images of 8-bit values in [0, 1], (count, 3, side, side); fewer images are repeated."""
    if images is None:
        ramp = torch.linspace(0, 1, side, dtype=torch.float32, device="cpu")
        images = (255 * ramp[:, None] * ramp).round().div(255).expand(1, 3, -1, -1)
    return images[torch.arange(count, device="cpu") % len(images)].to(device).contiguous()


def _keys(count: int, repeat: int, device: torch.device) -> Mirror:
    return Mirror.of(torch.tensor([key("calibrate", repeat, i) for i in range(count)], dtype=torch.int64, device="cpu"), device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
