"""Try out a defense that runs code of others, before any work starts: whether its randomness can be had from keys, and how."""

import warnings
from typing import Any

import torch
from torch import Tensor

from bart import Classifier, Mirror
from bart.defenses import Compose, Defense, Network
from bart.defenses.module import ByKeys
from bart.keyed import Habits, UnknownRandomness
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput, Remark, one_line


def behind(classifier: Classifier, cell: Cell, who: str) -> Network:
    """Return a classifier behind a cell's defense, all of whose rows meet the same draw. `who` names them in messages.

    Raises BadInput for a defense that can't be built or run, or whose randomness can't be had from keys; warns of one that is
    slow because it draws image by image, or that draws nothing.
    """
    x = torch.zeros(1, 3, cell.crop, cell.crop, dtype=torch.float32, device="cpu")
    try:
        defended = cell.defense.defended(classifier, {})
        found = [defense.habits(classifier, x) for defense in _keyed(defended.defense)]
    except BadInput:
        raise
    except UnknownRandomness as error:
        raise BadInput(f"{who} {error}") from None
    except ValueError as error:
        raise BadInput(f"{who}: {one_line(error).partition(': ')[2]}") from None
    except Exception as error:  # code of others may raise anything
        raise BadInput(f"{who} can't be run on {cell.crop} px images ({one_line(error)}): mend its forward") from None
    for habits in found:
        _report(habits, who)

    def network(x: Tensor) -> Tensor:
        return defended.logits(x, Mirror.of(torch.zeros(len(x), dtype=torch.int64, device="cpu"), x.device))

    return network


def _keyed(defense: Defense) -> list[ByKeys]:
    """Return the parts of a defense that answer randomness from keys."""
    parts: tuple[Any, ...] = defense.defenses if isinstance(defense, Compose) else (defense,)
    return [part for part in parts if isinstance(part, ByKeys)]


def _report(habits: Habits, who: str) -> None:
    """Warn of what a person should know of how code draws."""
    if habits.by_row:
        warnings.warn(f"{who}: {habits.by_row}, so images run one by one, which is slow", Remark, stacklevel=3)
    if not habits.draws:
        warnings.warn(
            f"{who}: draws nothing, so all its draws are the same: k: 0 is for models that are not random",
            Remark,
            stacklevel=3,
        )
