"""Make again the draws of a defense that judged an image: what they are made of, and what they made of it. On the CPU."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import draw_keys
from bart.defenses import Defense, Stage
from pipeline.campaigns import image_keys
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput, one_line
from pipeline.reports.pictures.example import Picture

Name = tuple[str, str]
"""The shard of an image, and its key there."""

_ALONE = threading.Lock()
"""Held while code of others runs: it draws from generators that all threads share."""


def made_of(cell: Cell, image: Name, draw: int) -> Sequence[Stage]:
    """Return what an evaluation draw of an image is made of, in order, with what was drawn for it.

    draw  which of the evaluation draws, from 0
    """
    defense, drawn = _drawn(cell, image, draw, (cell.crop, cell.crop))
    return defense.made_of(drawn)


def stages(cell: Cell, image: Name, picture: Picture, draw: int = 0) -> list[tuple[str, Picture]]:
    """Return the steps of one evaluation draw of an image, in order, each with the picture after it.

    picture  the image that the defense gets
    draw     which of the evaluation draws, from 0
    """
    defense, drawn = _drawn(cell, image, draw, (picture.shape[1], picture.shape[2]))
    with _on_its_own(cell), torch.no_grad():
        return [(name, in_8_bits(done[0])) for name, done in defense.stages(_floats(picture), drawn)]


def seen(cell: Cell, image: Name, picture: Picture, draw: int) -> Tensor:
    """Return what the model got of an image behind one evaluation draw, (m, 3, h, w): a row for each of its m passes.

    Raises BadInput for a defense inside the model, and if code of others fails here.
    """
    defense, drawn = _drawn(cell, image, draw, (picture.shape[1], picture.shape[2]))
    try:
        with _on_its_own(cell), torch.no_grad():
            found = defense.seen(_floats(picture), drawn)
    except BadInput:
        raise
    except Exception as error:
        if not cell.defense.foreign:
            raise
        raise BadInput(f"defense {cell.defense_name} runs code of others, which fails here: {one_line(error)}") from None
    if found is None:
        raise BadInput(
            f"defense {cell.defense_name} ({cell.defense.kind}) acts inside the model, which gets every image as it is: "
            "a draw of it has no picture"
        )
    return found


def sheet(images: Tensor) -> Picture:
    """Return images (m, 3, h, w) as one picture: of several, rows and columns of them, about as many; white where none is."""
    many = [in_8_bits(image) for image in images]
    across = int(np.ceil(np.sqrt(len(many))))
    many += [np.full_like(many[0], 255)] * (-len(many) % across)
    return np.concatenate([np.concatenate(many[i : i + across], 2) for i in range(0, len(many), across)], 1)


def in_8_bits(image: Tensor) -> Picture:
    """Return an image (3, h, w) as a picture: values outside [0, 1], as noise makes them, are clipped; each is rounded."""
    shown: Picture = (image.nan_to_num().clamp(0, 1) * 255).round().byte().numpy()
    return shown


def _drawn(cell: Cell, image: Name, draw: int, size: tuple[int, int]) -> tuple[Defense, Any]:
    """Return the defense of a cell, and one evaluation draw of an image of this size; it depends on no pixel."""
    keys = draw_keys.to_judge(image_keys.to_judge(cell, [image]), draw + 1, cell.defense.frozen)
    defense = cell.defense.build()
    with _on_its_own(cell):
        return defense, defense.draw(keys.map(lambda side: side[draw:]), size)


def _on_its_own(cell: Cell) -> AbstractContextManager[Any]:
    return _ALONE if cell.defense.foreign else nullcontext()


def _floats(picture: Picture) -> Tensor:
    """Return a picture as the judge has it, (1, 3, h, w): sums over values in another order would have other last bits."""
    return torch.from_numpy(np.ascontiguousarray(picture))[None].float() / 255
