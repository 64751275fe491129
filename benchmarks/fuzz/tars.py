"""Read the samples of a tar by Python's tarfile and the rule of docs/images.md, apart from barrage's own reader."""

import gzip
import io
import tarfile
import zlib

from pipeline.data.pictures import ENDINGS

MOST = 4 << 20
"""Bytes of a file, and of an unfolded shard; larger ones are not compared."""

BLOCK = tarfile.BLOCKSIZE


class NotRead(Exception):
    """Say that this reader does not tell what a shard holds."""


def files(shard: bytes) -> dict[str, bytes]:
    """Return the files of a shard by name, links followed. Raises NotRead for one that is damaged, or larger than MOST."""
    data = _unfolded(shard)
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        if not data[at : at + BLOCK].strip(b"\0"):
            at += BLOCK
            continue
        try:
            with tarfile.open(fileobj=io.BytesIO(data[at:]), mode="r:", errorlevel=2) as tar:
                found |= _contents(tar, data[at:])
                if (step := tar.offset // BLOCK * BLOCK) <= 0:
                    raise NotRead("no member")
        except NotRead:
            raise
        except Exception as error:
            raise NotRead(str(error)) from None
        at += step
        if data[at : at + BLOCK].strip(b"\0"):
            raise NotRead("no end of the archive, or a damaged header")
    return found


def _unfolded(shard: bytes) -> bytes:
    """Return the bytes of the tar. Raises NotRead for a damaged gzip."""
    if not shard.startswith(b"\x1f\x8b"):
        return shard
    try:
        with gzip.open(io.BytesIO(shard)) as file:
            data = file.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NotRead(str(error)) from None
    if len(data) > MOST:
        raise NotRead("too large")
    return data


def _contents(tar: tarfile.TarFile, archive: bytes) -> dict[str, bytes]:
    """Return the files of one archive. Raises NotRead for a link that leads nowhere, a sparse file, or a large one.

    Also for a member of GNU tar's incremental archives: tarfile takes the times in its header for the beginning of its name.
    """
    found = {}
    for member in tar.getmembers():
        if member.issparse() or member.size > MOST:
            raise NotRead("a sparse or large file")
        header = archive[member.offset_data - BLOCK : member.offset_data]
        if header[257:265] == tarfile.GNU_MAGIC and header[345:500].strip(b"\0"):
            raise NotRead("a member of an incremental archive")
        if member.isreg() or member.islnk() or member.issym():
            try:
                file = tar.extractfile(member)
            except KeyError:
                raise NotRead("a link to nothing") from None
            data = file.read() if file else b""
            if member.isreg() and len(data) < member.size:
                raise NotRead("cut off")
            found[member.name] = data
    return found


def pairs(found: dict[str, bytes]) -> dict[str, tuple[bytes, bytes]]:
    """Return {key: (image, label)} of the plain samples: names with one dot, and one image for each label."""
    endings: dict[str, dict[str, bytes]] = {}
    for name, data in found.items():
        stem, dot, ending = name.rpartition(".")
        base = stem.rpartition("/")[2]
        if dot and base and "." not in base and not name.startswith("__"):
            endings.setdefault(stem, {})[ending.lower()] = data
    images = {key: [data for ending, data in own.items() if ending in ENDINGS] for key, own in endings.items()}
    return {key: (images[key][0], own["cls"]) for key, own in endings.items() if "cls" in own and len(images[key]) == 1}
