"""Name what one training makes: the network of one transform, or the classifier."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class TrainingUnit:
    """Name one network to train. Metrics don't count it."""

    name: str

    counted_as: ClassVar[None] = None
