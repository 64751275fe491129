"""Take a layer that normalises colours out of foreign weights: programs of robust learning store one before the network."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from pipeline.errors import BadInput

LAYERS = (
    ("normalizer.new_mean", "normalizer.new_std"),  # robustness, of Madry's laboratory
    ("normalize.new_mean", "normalize.new_std"),  # the same, of its copy inside an attack
    ("normalize.mean", "normalize.std"),  # RobustBench
    ("normalize.means", "normalize.sds"),
    ("0.means", "0.sds"),  # randomised smoothing: a Sequential of the layer and the network
)
"""Names of its mean and standard deviation, without what programs put before them."""

SECOND = "1."
"""What stands before the names of the network where the layer is the first of two."""

CLOSE = 1e-3
"""How far a mean or deviation of the file may be from the campaign's: programs round them."""


class Colours(NamedTuple):
    """Hold mean and standard deviation of each channel of images in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_first_of_two(names: Mapping[str, Any]) -> bool:
    """Return whether weights are those of a layer that normalises colours, and a network after it."""
    return any(first in names and second in names for first, second in LAYERS if first.startswith("0."))


def taken(state: dict[str, Any], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Any], list[Colours]]:
    """Return weights without the layers that normalise colours and that the network lacks, and what these hold."""
    found = list[Colours]()
    for pair in LAYERS:
        mean, std = map(state.get, pair)
        if not wanted.keys() & set(pair) and isinstance(mean, Tensor) and isinstance(std, Tensor):
            found.append(Colours(*(tuple(value.detach().double().flatten().tolist()) for value in (mean, std))))
            state = {name: value for name, value in state.items() if name not in pair}
    return state, found


def agree(where: str, found: Colours, expected: Colours) -> None:
    """Raise BadInput, which says `where`, if weights were trained behind another normalisation than the campaign's."""
    for name, own, asked in zip(Colours._fields, found, expected, strict=True):
        each = own * len(asked) if len(own) == 1 else own
        if len(each) != len(asked) or any(abs(one - other) > CLOSE for one, other in zip(each, asked, strict=True)):
            values = ", ".join(f"{value:.4g}" for value in own)
            raise BadInput(
                f"{where} were trained behind a layer that normalises colours by a {name} of [{values}], "
                f"the campaign has {list(asked)}: write {name}: [{values}]"
            )
