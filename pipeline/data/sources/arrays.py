"""Read images from NumPy arrays: a .npz file with images and labels, or a .npy file of images with one of labels beside it."""

import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, NamedTuple

import numpy as np

from pipeline.data.pack.classes import Classes
from pipeline.data.sources.generated import Generated
from pipeline.errors import BadInput, steady
from pipeline.storage import urls

MAX_ROW = 64 << 20
"""Bytes of one image, at most."""

MAX_HEADER = 1 << 16
"""Bytes of the description of an array, at most."""

DAMAGED = ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, OSError
"""What reading a damaged file raises; OSError only without a number, or for a place that cannot be."""

_SHAPES = "(n, h, w, 3), (n, 3, h, w) or (n, h, w) uint8"


class Array(NamedTuple):
    """Describe an array in a file: its shape and type, and the bytes of its values, which follow in order."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: IO[bytes]

    @property
    def is_images(self) -> bool:
        """Return whether these are images."""
        return self.dtype == np.uint8 and (
            len(self.shape) == 3 or (len(self.shape) == 4 and 3 in (self.shape[1], self.shape[3]))
        )

    @property
    def is_labels(self) -> bool:
        """Return whether these are labels: a whole number for each image."""
        return self.dtype.kind in "iu" and all(side == 1 for side in self.shape[1:])

    def rows(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the parts along the first axis. Raises ValueError if the file ends too early."""
        length = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        for _ in range(self.shape[0]):
            data = self.file.read(length)
            if len(data) < length:
                raise ValueError("it ends too early")
            yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])


@contextmanager
def opened(url: str, size: int, classes: Classes | None) -> Iterator[Generated]:
    """Open a file as a tar of its images and labels. Raises BadInput, also while it is read."""
    with ExitStack() as stack:
        try:
            images, labels = (_in_npz if url.endswith(".npz") else _beside)(url, stack)
            if not images.is_images or not labels.is_labels or labels.shape[0] != images.shape[0]:
                raise ValueError(f"images are {images.dtype} {images.shape}, labels {labels.dtype} {labels.shape}")
            if int(np.prod(images.shape[1:], dtype=np.int64)) > MAX_ROW:
                raise ValueError(f"an image of {images.shape[1:]}")
        except BadInput:  # which is a ValueError
            raise
        except DAMAGED as error:
            raise _wrong(url, error) from None
        yield Generated(_files(images, labels, url))


def _files(images: Array, labels: Array, url: str) -> Iterator[tuple[str, bytes]]:
    """Yield each image in a format without compression, so that its bytes depend on nothing else, and its label."""
    try:
        for number, (image, label) in enumerate(zip(images.rows(), labels.rows(), strict=True)):
            yield f"{number:06d}.ppm", _ppm(image)
            yield f"{number:06d}.cls", str(int(label.reshape(()))).encode()
    except DAMAGED as error:
        raise _wrong(url, error) from None


def _ppm(image: np.ndarray[Any, Any]) -> bytes:
    """Return an image, (h, w, 3), (3, h, w) or (h, w) uint8, as a file of kind PPM."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    elif image.shape[-1] != 3:
        image = image.transpose(1, 2, 0)
    return b"P6 %d %d 255\n" % (image.shape[1], image.shape[0]) + np.ascontiguousarray(image).tobytes()


def _in_npz(url: str, stack: ExitStack) -> tuple[Array, Array]:
    """Return the images and the labels of a .npz file: one array of each. Raises ValueError."""
    archive = stack.enter_context(zipfile.ZipFile(_open(url, stack)))
    every = {name: _array(stack.enter_context(archive.open(name))) for name in archive.namelist() if name.endswith(".npy")}
    images, labels = ([a for a in every.values() if wanted(a)] for wanted in (lambda a: a.is_images, lambda a: a.is_labels))
    if len(images) != 1 or len(labels) != 1:
        there = ", ".join(f"{name.removesuffix('.npy')} {a.dtype} {a.shape}" for name, a in every.items())
        raise ValueError(f"it holds {there[:200] or 'no array'}")
    return images[0], labels[0]


def _beside(url: str, stack: ExitStack) -> tuple[Array, Array]:
    """Return the images of a .npy file, and the labels of the one beside it. Raises BadInput, ValueError."""
    folder, name = urls.split(url)
    stem = name.removesuffix(".npy")
    base = stem.removesuffix("_data").removesuffix("_images")
    names = [f"{base}_labels.npy", "labels.npy"]
    for other in names:
        if other != name and urls.at(folder).entry(other):
            return _array(_open(url, stack)), _array(_open(urls.join(folder, other), stack))
    raise BadInput(f"{url} has no labels: expected {' or '.join(names)} beside it")


def _open(url: str, stack: ExitStack) -> IO[bytes]:
    folder, name = urls.split(url)
    return stack.enter_context(urls.at(folder).open(name))


def _array(file: IO[bytes]) -> Array:
    """Return the array whose file was just opened; its values are not read. Raises ValueError, also for pickled objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    start = file.read(2 if version == (1, 0) else 4)  # the length of the header
    if (length := int.from_bytes(start, "little")) > MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    try:
        shape, fortran, dtype = read(io.BytesIO(start + file.read(length)))
    except (*DAMAGED, MemoryError):
        raise
    except Exception as error:  # the header is Python, and its parser may raise anything on a strange one
        raise ValueError(f"its header is damaged: {steady(error)}") from None
    if dtype.hasobject or (fortran and len(shape) > 1) or not shape:
        raise ValueError(f"an array {dtype} {shape}{' in the order of Fortran' if fortran else ''}")
    return Array(shape, dtype, file)


def _wrong(url: str, error: Exception) -> Exception:
    """Return what to say of a damaged file; the error itself if a disk or service is to blame."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return error
    return BadInput(f"{url}: {steady(error)}: expected images {_SHAPES}, and a whole number for each")
