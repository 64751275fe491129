"""Try images one by one after they failed together: one that fails alone too is lost, and none of its neighbours is."""

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from pipeline.errors import BadInput, Drained, ShardUnusable, StorageError, steady
from pipeline.execution.worker import gpu_is_broken
from pipeline.planning.stack_sizes import out_of_memory

ImageT = TypeVar("ImageT")
EventT = TypeVar("EventT")
DoneT = TypeVar("DoneT")

_NOT_OF_AN_IMAGE = BadInput, Drained, ShardUnusable, StorageError


def may_be_an_image(error: Exception, images: int) -> bool:
    """Return whether an error of `images` images may be the fault of one of them, so that the others should be tried alone."""
    return images > 1 and not isinstance(error, _NOT_OF_AN_IMAGE) and not gpu_is_broken(error)


def of_the_machine(error: Exception) -> bool:
    """Return whether an error of one image alone is the machine's: it is out of memory, or the system refused a call.

    All images of a cell take the same memory, so there is room for none or for all; another worker may have it.
    """
    return out_of_memory(error) or (isinstance(error, OSError) and error.errno is not None)


def said(error: Exception) -> str:
    """Return why an image was lost, in one line that is the same on every run."""
    return f"{type(error).__name__}: {steady(error)}"


def one_by_one(
    images: Iterable[ImageT], work: Callable[[ImageT], Generator[EventT, None, DoneT]], lost: Callable[[ImageT, str], None]
) -> Generator[EventT, None, list[DoneT]]:
    """Work on each image; yield the events and return the results. `lost` takes each image that fails, and why.

    Raises the last error if all fail: then it is not the images' fault. Raises at once what no image can cause, and what the
    machine caused: on another one, or later, the image may pass.
    """
    done, failed, error = list[DoneT](), list[tuple[ImageT, str]](), None
    for image in images:
        try:
            done.append((yield from work(image)))
        except Exception as raised:
            if not may_be_an_image(raised, 2) or of_the_machine(raised):
                raise
            error = raised
            failed.append((image, said(raised)))
    if error and not done:
        raise error
    for image, why in failed:
        lost(image, why)
    return done
