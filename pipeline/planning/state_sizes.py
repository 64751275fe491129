"""Find out how large the state of a running attack is: that of one image, as it is before the first step."""

from typing import TYPE_CHECKING

import torch

from bart import Goal, Mirror

if TYPE_CHECKING:
    from pipeline.config.campaign import Cell


def bytes_an_image(cell: "Cell") -> int:
    """Return the bytes of a checkpoint that one image of a cell takes. The photograph is none of them."""
    grey, label = torch.full((1, 3, cell.crop, cell.crop), 0.5), torch.zeros(1, dtype=torch.int64)
    state = cell.built.start(grey, Goal(label, label - 1), Mirror.of(label, "cpu"))
    sizes = {name: value.numel() * value.element_size() for name, value in state.tensors().items()}
    return sum(sizes.values()) - sizes["clean"]
