"""Give each image the keys of its randomness: one for the draws that judge it, one for all that attacks it, one for its target.

An image is named by its shard and its key there, as a row is. So draws can be made again from a row alone, without the image,
and two images with the same key in two shards meet draws of their own. Images may move to another folder or be encoded again
without another draw. In shards that are cut otherwise the draws are others, as are units and rows.
"""

from collections.abc import Iterable

import torch

from bart import Mirror, key
from pipeline.config.campaign import Cell

Names = Iterable[tuple[str, str]]
"""The shard of each image, and its key there."""


def to_judge(cell: Cell, images: Names, device: torch.device | str = "cpu") -> Mirror:
    """Return the keys for `bart.judge`, (n,): they follow from the seed, the model and its defense, and the image alone.

    So all attacks on one defense are judged by the same draws, whatever the cells are called, and the clean image gets the
    same verdict under each.
    """
    judged = cell.defended_identity  # a millisecond: not for each image
    return _mirror((key("evaluation", cell.seed, judged, *image) for image in images), device)


def to_attack(cell: Cell, images: Names, device: torch.device | str = "cpu") -> Mirror:
    """Return the keys for an attack's `start`, (n,): they follow from the seed, the cell's name and the image's key alone.

    `bart.draw_keys` keeps their draws apart from those that judge. A frozen defense has one draw for both.
    """
    if cell.defense.frozen:
        return to_judge(cell, images, device)
    return _mirror((key(cell.seed, cell.name, image) for _, image in images), device)


def to_aim(cell: Cell, images: Names, device: torch.device | str = "cpu") -> Mirror:
    """Return the keys of random targets, (n,): they follow from the seed and the image alone, so all cells aim alike."""
    return _mirror((key("target", cell.seed, *image) for image in images), device)


def _mirror(keys: Iterable[int], device: torch.device | str) -> Mirror:
    return Mirror.of(torch.tensor(list(keys), dtype=torch.int64, device="cpu"), device)
