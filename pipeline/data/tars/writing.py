"""Write small files as one tar in memory, and take such a tar apart again."""

import io
import tarfile
from collections.abc import Iterable

from pipeline.errors import steady


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar of (name, content), without times and owners, so that its bytes depend on nothing else.

    A name that has no room in a plain header gets an extended one (PAX); other files have the bytes that they have without it.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.format = tarfile.USTAR_FORMAT if _is_short(member) else tarfile.PAX_FORMAT
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(tar: bytes) -> dict[str, bytes]:
    """Return the files of a tar by name. Raises ValueError if it is none, or damaged."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as file:
            contents = {member.name: file.extractfile(member) for member in file if member.isreg()}
            return {name: content.read() for name, content in contents.items() if content}
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"no whole tar: {steady(error)}") from None


def _is_short(member: tarfile.TarInfo) -> bool:
    """Return whether a plain header has room for a name."""
    try:
        member.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:
        return False
    return True
