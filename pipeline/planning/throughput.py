"""How fast the device at hand does the work of a cell: a few seconds of its own attack and its own verdict."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import Barrage, Defended, Eot, Goal, Mirror, judge, key, lanes
from bart.gradient import gradient
from pipeline.config.campaign import Cell

SECONDS = 3.0
"""Of measuring each, after a first time that does not count."""

LEAST = 3
"""Times that something is measured, however long it takes: barrages differ in what they cost."""

_FREE = {"eps", "norm", "goal", "steps", "step_size", "eot_draws", "mode", "break_draws", "break_every", "random_start"}
"""Settings of an attack that change what it does, not how long a draw takes."""


@dataclass(frozen=True)
class Speed:
    """Of one device. `attack` is draw-gradients a second of the attack as it goes, a draw without a gradient counting for a
    third; `verdict` draws judged a second; `error` the relative standard error of `attack`."""

    attack: float
    verdict: float
    error: float = 0.0


def alike(cell: Cell) -> str:
    """Cells for which this is the same have the same speed."""
    attack = cell.attack.model_dump_json(exclude=_FREE)
    return f"{cell.model_name} {cell.defense_name} {cell.crop} {attack}"


def rate(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None = None) -> float:
    """Draw-gradients a second of a cell's attack on a device, `stack` draws at a time; a draw without a gradient counts for a
    third of one. `images` (n, 3, crop, crop) in [0, 1], a smooth one unless told."""
    return _attack(defended, cell, stack, device, images)[0]


def speed(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None = None) -> Speed:
    """The same with the verdict's."""
    attack, error = _attack(defended, cell, stack, device, images)
    x = (255 * _batch(images, max(1, stack // cell.judged_by), cell.crop, device)).round().to(torch.uint8)
    draws = min(cell.judged_by, stack)

    def verdict(time: int) -> None:
        judge(defended, x, _keys(len(x), time, device), draws, stack)

    return Speed(attack, len(x) * draws / statistics.mean(timed(verdict, device)), error)


def _attack(defended: Defended, cell: Cell, stack: int, device: torch.device, images: Tensor | None) -> tuple[float, float]:
    """Draw-gradients a second, and the relative standard error."""
    few = cell.attack.model_copy(update={"eot_draws": min(cell.attack.eot_draws, 2 * stack)})  # where a draw costs as much
    short = cell.model_copy(update={"attack": few})
    attack = short.built
    x = _batch(images, max(1, stack // short.eot_draws), cell.crop, device)
    label = torch.zeros(len(x), dtype=torch.int64, device=device)
    _warm(defended, x[:1], label[:1], device)
    state = attack.start(x, Goal(label, label - 1), _keys(len(x), 0, device))

    def step(time: int) -> None:
        nonlocal state
        if lanes.over(state, attack):
            state = attack.start(x, Goal(label, label - 1), _keys(len(x), time, device))
        state = lanes.step(attack, state, defended, stack, len(x))

    found = timed(step, device)
    error = statistics.stdev(found) / math.sqrt(len(found)) / statistics.mean(found)
    return len(x) * work(short) / attack.steps / statistics.mean(found), error


def _warm(defended: Defended, x: Tensor, label: Tensor, device: torch.device) -> None:
    """Sends an image through every transform, since each is compiled where it is first met, which any draw may be."""
    for name in defended.barrage.transforms if defended.barrage.k else ():
        only = replace(defended, barrage=Barrage(1, (name,)))
        gradient(only, x, Goal(label, label - 1), _keys(1, 0, device), Eot(1), 1)


def work(cell: Cell) -> float:
    """Of one image, in draw-gradients, without its verdict."""
    return cell.cost.gradients + cell.cost.forwards / 3


def timed(once: Callable[[int], None], device: torch.device) -> list[float]:
    """Seconds of each time: `once` is given its number, and the first does not count."""
    found: list[float] = []
    once(0)
    while len(found) < LEAST or sum(found) < SECONDS:
        _wait(device)
        began = time.perf_counter()
        once(len(found) + 1)
        _wait(device)
        found.append(time.perf_counter() - began)
    return found


def _batch(images: Tensor | None, count: int, side: int, device: torch.device) -> Tensor:
    """So many images, repeated where there are fewer; of 8-bit values."""
    if images is None:
        ramp = torch.linspace(0, 1, side)
        images = (255 * ramp[:, None] * ramp).round().div(255).expand(1, 3, -1, -1)
    return images[torch.arange(count) % len(images)].to(device).contiguous()


def _keys(count: int, time: int, device: torch.device) -> Mirror:
    return Mirror.of(torch.tensor([key("calibrate", time, i) for i in range(count)]), device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
