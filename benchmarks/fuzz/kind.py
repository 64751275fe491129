"""Describe a kind of input, and judge what became of a mutant of it."""

import signal
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from pipeline.errors import BadInput, ShardUnusable

SECONDS = 10
"""Seconds of a core after which a mutant hangs, however busy the machine is."""

REFUSED = "refused"
"""What became of a mutant that ends in one line of words."""

SAME = "as before"
"""... of one that gives what the sound input gave."""

FAULTS = "rows with a reason"
"""... of one in which some images are rows with a reason."""

OTHER = "what it now holds"
"""... of one whose content truly is another, and is read as an independent reader reads it."""


class Hang(Exception):
    """Say that a mutant took more than SECONDS."""


class Unsound(Exception):
    """Say how a mutant broke barrage's word."""


class Kind(ABC):
    """Make mutants of one kind of input in an empty folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def attempt(self, chance: Random) -> str:
        """Write a mutant, have barrage read it, and return what became of it; leave the sound input behind.

        Raises BadInput if it is refused, Unsound if a promise is broken, and any Exception that barrage raises.
        """


def twice(read: Callable[[], object]) -> object:
    """Return what a reader gives. Raises Unsound if it gives, or says, something else the second time."""
    first, second = (_given(read) for _ in range(2))
    if first != second:
        raise Unsound(f"the second time it gives {second!r:.300}, the first time {first!r:.300}")
    if isinstance(first, BadInput | ShardUnusable):
        raise first
    return first


class _Said(BadInput):
    """Hold a message that is equal to another one by what it says."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Said) and str(self) == str(other)

    __hash__ = BadInput.__hash__


def _given(read: Callable[[], object]) -> object:
    try:
        return read()
    except (BadInput, ShardUnusable) as error:
        return _Said(str(error))


def one_line(text: str) -> None:
    """Raise Unsound unless what stands in a row is one line of reasonable length."""
    if not text or len(text.splitlines()) != 1 or len(text) > 1100:
        raise Unsound(f"a message that is not one line: {text!r:.500}")


def verdict(kind: Kind, chance: Random) -> str:
    """Return what became of a mutant, or a fault in words, which begins with FAULT."""
    try:
        with limited(SECONDS):
            return kind.attempt(chance)
    except BadInput as error:  # commands write what cannot be seen in it as escapes: pipeline/escaped.py
        return REFUSED if 10 < len(str(error)) < 1100 else f"FAULT: a message of {len(str(error))} letters: {error!r:.500}"
    except Hang as error:
        return f"FAULT: hangs, {error}"
    except Unsound as error:
        return f"FAULT: {error}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"FAULT: {traceback.format_exc()}"


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Hang in the block once it has taken this number of seconds of a core."""

    def ring(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s of a core")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
