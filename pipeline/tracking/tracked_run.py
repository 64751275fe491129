"""Define what a tracker gets, and what it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

Setting = str | int | float | bool
"""A value of the campaign file."""


@dataclass(frozen=True)
class TrackedRun:
    """Hold what a tracker gets at its start.

    id           the same for all runs on a store, and no other's: letters, digits, `-`, `_` and `.`, at most 50
    name         of the campaign
    destination  what the user wrote behind the colon of --track; empty if nothing
    settings     of the campaign, by dotted names such as attacks.pgd.eps
    """

    id: str
    name: str
    destination: str
    settings: Mapping[str, Setting]


class Tracker(Protocol):
    """Describe one tracked run. Any method may raise any exception: it is reported once, and the next call tries again."""

    @property
    def place(self) -> str:
        """Return one line that tells a person where to see the run; may be empty."""

    def log(self, figures: Mapping[str, float], images: int) -> None:
        """Add figures by name, `<cell>/attacked_vote` or `campaign/rate`; `images` committed so far, which never fall."""

    def end(self, exit_code: int) -> None:
        """End the run with the exit code of its command, and send what was not sent yet."""
