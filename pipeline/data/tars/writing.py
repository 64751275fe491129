"""Write small files as one tar in memory, and take such a tar apart again, or find single files in it."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import StorageError, steady


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar of (name, content), without times and owners, so that its bytes depend on nothing else."""
    return b"".join(blocks(files))


def blocks(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of such a tar, piece by piece.

    A name that has no room in a plain header gets an extended one (PAX); other files have the bytes that they have without it.
    """
    size = 0
    for name, content in files:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for block in (_header(member), content, bytes(-len(content) % tarfile.BLOCKSIZE)):
            size += len(block)
            yield block
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(size + end) % tarfile.RECORDSIZE)


def _header(member: tarfile.TarInfo) -> bytes:
    """Return the header of a member, plain where it has room for the name."""
    try:
        return member.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:
        return member.tobuf(tarfile.PAX_FORMAT)


def unpacked(tar: bytes) -> dict[str, bytes]:
    """Return the files of a tar by name. Raises ValueError if it is none, or damaged."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as file:
            contents = {member.name: file.extractfile(member) for member in file if member.isreg()}
            return {name: content.read() for name, content in contents.items() if content}
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"no whole tar: {steady(error)}") from None


def places(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Return where the bytes of each file of an open tar begin, and how many they are, by name: only headers are read.

    Raises ValueError if it is no tar, or damaged.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
    except StorageError:
        raise
    except Exception as error:  # headers of strangers may make tarfile raise anything
        raise ValueError(f"no whole tar: {steady(error)}") from None
