"""Read what each cell of a campaign plans from the store's campaign.yaml, without the packages that attack."""

from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.config.yaml_loader import plain
from pipeline.errors import BadInput
from pipeline.planning.cost import weight
from pipeline.store import formats
from pipeline.store.layout import Store

FILE = "campaign.yaml"

DAMAGED = (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError)
"""What reading a file raises that holds something else, BadInput excepted."""


def damaged(url: str, error: Exception) -> BadInput:
    """Return what to say of a store whose file cannot be read."""
    detail = " ".join(str(error).split())[:200]
    return BadInput(f"store {url}: its {FILE} is damaged or of another program ({detail}): restore it")


@dataclass(frozen=True)
class Planned:
    """Describe a cell: its units and images, and what one image costs at most, in draws with a gradient and without."""

    units: int
    images: int
    draw_gradients: int
    forwards: int
    k: int

    @property
    def weight(self) -> float:
        """Return what one image costs, compared with those of other cells."""
        return weight(self.draw_gradients, self.forwards, self.k)


def content_of(store: Store, url: str) -> dict[str, Any]:
    """Return what the store's campaign.yaml holds. Raises BadInput if there is no store, or one of a later format.

    Raises one of DAMAGED if the file holds something else.
    """
    data = store.read(FILE)
    if data is None:
        raise BadInput(f"store {url} holds no {FILE}: give the folder that `barrage run` wrote to")
    content: dict[str, Any] = plain(data)
    formats.check(f"{url}/{FILE}", content)
    return content


def read(store: Store, url: str) -> tuple[str, dict[str, Planned]]:
    """Return the campaign's name and its cells. Raises BadInput if there is no store, or one that this release cannot read."""
    try:
        content = content_of(store, url)
        name, cells = content["campaign"]["name"], content.get("planned")
        if cells is not None:
            return name, {cell: Planned(**found) for cell, found in cells.items()}
    except DAMAGED as error:
        raise damaged(url, error) from None
    raise BadInput(f"store {url} was made by an earlier version: run its campaign again, which adds what is missing")
