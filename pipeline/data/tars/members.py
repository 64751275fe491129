"""Read the members of a tar one after the other, also behind an end mark: several tars may stand in one file."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from pipeline.data.tars.stream import Forward

MAX_HEADER = 1 << 20
"""Bytes that the headers of one member may take, long names and attributes included."""

_END = 2 * tarfile.BLOCKSIZE
"""Bytes of zeros at the end of every complete tar."""


@dataclass(frozen=True, slots=True)
class Member:
    """Describe a file of a tar. `link` is the path of the file whose bytes it has, empty where it names none; else None.

    `sparse` files store only parts of their bytes; they are not read. `at` is where the bytes begin, in the unfolded tar.
    """

    number: int
    name: str
    size: int = 0
    link: str | None = None
    sparse: bool = False
    at: int = 0


@dataclass
class Passed:
    """Count the members that are no files, by what they are."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str) -> None:
        """Count one more."""
        self.counts[what] = self.counts.get(what, 0) + 1


class _Header(tarfile.TarInfo):
    """Read a header as GNU tar means it: incremental archives have times where POSIX has the beginning of a long name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Return the header in 512 bytes."""
        found = super().frombuf(buf, encoding, errors)
        if buf[257:265] == tarfile.GNU_MAGIC:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            found.name = name.rstrip("/") if found.isdir() else name
        return found


class _Tar(tarfile.TarFile):
    """Hold what reading a header needs: no file of its own, no list of members, so that memory stays bounded."""

    def __init__(self, file: Forward) -> None:
        self.fileobj, self.offset, self.pax_headers = file, 0, {}  # type: ignore[assignment]
        self.encoding, self.errors = "utf-8", "surrogateescape"


def members(file: Forward, passed: Passed) -> Iterator[Member]:
    """Yield the files and links of a tar in order; between two, the caller may read the bytes of the first from `file`.

    passed  where other members are counted: devices and pipes; folders need no word
    Raises any Exception at a damaged place, EOFError where the tar ends too early.
    """
    tar = _Tar(file)
    for number in count():
        file.seek(tar.offset)
        if (found := _header(tar, file)) is None:
            return
        if sum(map(len, tar.pax_headers.values())) > MAX_HEADER:
            raise ValueError(f"attributes of more than {MAX_HEADER} bytes, expected few")
        if found.isreg() or found.islnk() or found.issym():
            file.allow(found.size if found.isreg() else 0)
            yield Member(number, found.name, found.size, _target(found), found.issparse(), found.offset_data)
        elif not found.isdir():
            passed.add("device or pipe")


def _header(tar: _Tar, file: Forward) -> tarfile.TarInfo | None:
    """Return the next header, behind end marks too; None at the end of the file. Raises EOFError if no end mark is there."""
    zeros = 0
    while True:
        file.allow(MAX_HEADER)
        try:
            return _Header.fromtarfile(tar)
        except RecursionError:
            raise ValueError("more headers in a row than a member can have") from None
        except tarfile.HeaderError as error:
            kind = type(error).__name__  # the kinds are names of tarfile, but not in every description of it
            if kind == "EmptyHeaderError" and zeros >= _END:
                return None
            if kind == "EmptyHeaderError":
                raise EOFError("no end-of-archive marker") from None
            if kind != "EOFHeaderError":
                raise
            tar.pax_headers = {}  # of one archive alone
            zeros = tarfile.BLOCKSIZE + file.pass_zeros(tarfile.BLOCKSIZE)


def _target(found: tarfile.TarInfo) -> str | None:
    """Return the path in the tar that a link leads to, empty if it leads nowhere; None for a file of its own."""
    if found.islnk():
        return found.linkname
    if not found.issym():
        return None
    folder = [] if found.linkname.startswith("/") else found.name.split("/")[:-1]
    path: list[str] = []
    for part in [*folder, *found.linkname.split("/")]:
        if part == ".." and path:
            path.pop()
        elif part not in ("", "."):
            path.append(part)
    return "/".join(path)
