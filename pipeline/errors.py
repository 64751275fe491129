"""Define the errors that end a command, a unit or a worker, each with one line that says what to do."""

import re


def one_line(error: BaseException, most: int = 160) -> str:
    """Return an error as one line of at most some `most` characters: its kind and what it says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most]}".removesuffix(": ")


def shortened(text: str, most: int = 1000) -> str:
    """Return a text of at most some `most` characters: of a longer one its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


class Remark(UserWarning):
    """Say something that stops nothing, but that a person should know; commands show it as one line, once."""


class BadInput(ValueError):
    """Say that something the user gave cannot work: the value, what was expected and what to do. Exit code 2.

    A long message is shortened in the middle: values of any length may stand in it, and the remedy stands at its end.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class ClusterLost(RuntimeError):
    """Say that Ray itself is gone, not only a worker or a node: the same command resumes the work. Exit code 1."""


class StorageError(RuntimeError):
    """Say that a disk or service failed after every retry: full, forbidden, broken or out of reach. No unit is to blame."""


class ShardUnusable(RuntimeError):
    """Say that a shard is missing, out of reach or not the one that was planned; its images are not to blame."""


class Drained(RuntimeError):
    """Say that a worker was asked to stop and has written its checkpoint."""


def steady(error: BaseException) -> str:
    """Return what an error says, in one line that is the same on every run: without addresses in memory and paths of files."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>|\b0x[0-9a-fA-F]{6,}", "...", str(error))
    text = re.sub(r"(?<![\w.])(?:/[^/\s'\":,]+){2,}", "...", text)
    return " ".join(text.split())[:200] or type(error).__name__
