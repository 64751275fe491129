"""How fast a device does the work of a cell, measured on steps of its own attack."""

import time

import torch

from bart import Defended, Goal, Mirror, key, lanes
from pipeline.campaign import Cell

SECONDS = 2.0
"""Of measuring, after a first step that compiles what is new."""


def rate(defended: Defended, cell: Cell, stack: int, device: torch.device) -> float:
    """Draw-gradients a second of a cell on a device, `stack` draws at a time; a forward pass counts as a third of one."""
    attack, count = cell.built, max(1, stack // cell.eot_draws)
    each = (cell.cost.gradients + cell.cost.forwards / 3) / attack.steps
    ramp = torch.linspace(0, 1, cell.crop, device=device)
    x = (255 * ramp[:, None] * ramp).round().div(255).expand(count, 3, -1, -1).contiguous()
    label = torch.zeros(count, dtype=torch.int64, device=device)
    keys = Mirror.of(torch.tensor([key("calibrate", i) for i in range(count)]), device)
    state, done, began = attack.start(x, Goal(label, label - 1), keys), 0, 0.0
    while not began or time.perf_counter() - began < SECONDS:
        if lanes.over(state, attack):
            state = attack.start(x, Goal(label, label - 1), keys)
        state = lanes.step(attack, state, defended, stack, count)
        _wait(device)
        if began:
            done += 1
        else:
            began = time.perf_counter()
    return done * count * each / (time.perf_counter() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
