"""Shards as people bring them, each with the samples to expect: (key, label, status) in order, and what the page says."""

import gzip
import io
import tarfile
from typing import NamedTuple

from tests.support import tiny

GOOD = tiny.picture(0)


class Shard(NamedTuple):
    """The bytes of a shard, the samples to expect as (key, label, status), and what the page says."""

    data: bytes
    samples: list[tuple[str, int, str]]
    said: str


def tar(*members, kind=tarfile.GNU_FORMAT):
    """A tar of (name, content), or of (name, link's target, type of link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as file:
        for name, content, *link in members:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = link[0], content
                file.addfile(member)
            else:
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def bare(data):
    """A tar without its end."""
    data = data.rstrip(b"\0")
    return data + bytes(-len(data) % 512)


def pair(key, label=1, ending="png"):
    return [(f"{key}.{ending}", GOOD), (f"{key}.cls", b"%d" % label)]


def special():
    """A pipe and a folder between good samples."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for kind in (tarfile.FIFOTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("x.png")
            member.type = kind
            file.addfile(member)
    return bare(buffer.getvalue())


def damaged_header():
    data = bytearray(tar(*pair("a"), *pair("b", 2), *pair("c", 3)))
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as file:
        at = file.getmembers()[3].offset
    data[at + 150] ^= 1
    return bytes(data)


def incremental(data):
    """The tar with the times of access and change where GNU tar puts them with --listed-incremental: at 345 and 357."""
    found = bytearray(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        for number, member in enumerate(file.getmembers()):
            at = member.offset
            found[at + 345 : at + 369] = b"%011o\0%011o\0" % (1_700_000_000 + number, 1_700_000_000)
            found[at + 148 : at + 156] = bytes(8).replace(b"\0", b" ")
            found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


LINK, SYMBOLIC = tarfile.LNKTYPE, tarfile.SYMTYPE
LONG = "x" * 150
SHARDS = {
    "several tars one behind another": Shard(
        tar(*pair("a")) + tar(*pair("b", 2)), [("a", 1, "ok"), ("b", 2, "ok")], "all samples"
    ),
    "gzipped": Shard(gzip.compress(tar(*pair("a"))), [("a", 1, "ok")], "all samples"),
    "gzipped in several parts": Shard(
        gzip.compress(tar(*pair("a"))) + gzip.compress(tar(*pair("b", 2))), [("a", 1, "ok"), ("b", 2, "ok")], "all samples"
    ),
    "gzipped, with a wrong checksum": Shard(
        gzip.compress(tar(*pair("a")))[:-8] + bytes(8), [("a", 1, "ok"), ("x.tar#1", -1, "bad_shard")], ""
    ),
    "gzipped, with a wrong checksum where the last image ends": Shard(
        gzip.compress(tar(("a.cls", b"1"), ("a.png", GOOD))[: 3 * 512 + len(GOOD)])[:-8] + bytes(8),
        [("a", 1, "ok"), ("x.tar#1", -1, "bad_shard")], "",
    ),
    "compressed in another way": Shard(b"\xfd7zXZ\0" + bytes(99), [("x.tar#0", -1, "bad_shard")], ""),
    "compressed by zip, 7-Zip, lz4, zstd, bzip2": Shard(b"PK\3\4" + bytes(99), [("x.tar#0", -1, "bad_shard")], ""),
    "GNU tar's incremental format": Shard(
        incremental(tar(*pair("a"), *pair("b", 2))), [("a", 1, "ok"), ("b", 2, "ok")], "all samples"
    ),
    "all images first, then all labels": Shard(
        tar(("a.png", GOOD), ("b.png", GOOD), ("a.cls", b"1"), ("b.cls", b"2")), [("a", 1, "ok"), ("b", 2, "ok")], "all samples"
    ),
    "hard links": Shard(
        tar(*pair("a"), ("b.png", "a.png", LINK), ("b.cls", "a.cls", LINK)), [("a", 1, "ok"), ("b", 1, "ok")],
        "the linked files",
    ),
    "symbolic links": Shard(
        tar(("in/b.png", "../blobs/77", SYMBOLIC), ("in/b.cls", b"3"), ("blobs/77", GOOD)), [("in/b", 3, "ok")],
        "the linked files",
    ),
    "a link to nothing": Shard(tar(("b.png", "gone.png", SYMBOLIC), ("b.cls", b"3")), [("b", -1, "bad_image")], ""),
    "a link without a target": Shard(
        tar(*pair("a"), ("b.png", "", LINK), ("b.cls", "", SYMBOLIC)), [("a", 1, "ok"), ("b", -1, "bad_image")], ""
    ),
    "a link to itself": Shard(tar(("b.png", "b.png", SYMBOLIC), ("b.cls", b"3")), [("b", -1, "bad_image")], ""),
    "dots in keys": Shard(
        tar(*pair("a.1"), *pair("a.2", 2), *pair("v1.5", 3)), [("a.1", 1, "ok"), ("a.2", 2, "ok"), ("v1.5", 3, "ok")],
        "all samples",
    ),
    "further fields of a sample (a.seg.png, a.json)": Shard(
        tar(("a.seg.png", GOOD), ("a.json", b"{}"), *pair("a")), [("a", 1, "ok")], "image and label; the others are counted"
    ),
    "folders, pipes, files without ending": Shard(
        special() + tar(*pair("a"), ("README", b"x"), (".hidden", b"x")), [("a", 1, "ok")], "passed over, counted"
    ),
    "no image": Shard(tar(("a.cls", b"1")), [("a", -1, "bad_image")], ""),
    "no label": Shard(tar(("a.png", GOOD)), [("a", -1, "bad_label")], ""),
    "a label that is no whole number": Shard(tar(("a.png", GOOD), ("a.cls", b"1_0")), [("a", -1, "bad_label")], ""),
    "a label without end": Shard(tar(("a.png", GOOD), ("a.cls", b"9" * 5000)), [("a", -1, "bad_label")], ""),
    "WebP or AVIF": Shard(
        tar(*pair("a", 1, "webp"), *pair("b", 2, "avif")), [("a", 1, "ok"), ("b", 2, "ok")], "as JPEG and PNG"
    ),
    "a key of 150 letters, or 40 Chinese ones": Shard(
        tar(*pair(LONG), *pair("图" * 40, 2)), [(LONG, 1, "ok"), ("图" * 40, 2, "ok")], "all samples"
    ),
    "a key of more than 1024 bytes": Shard(tar(*pair("x" * 1100)), [("x" * 100 + "...", -1, "bad_key")], ""),
    "a key that is not UTF-8": Shard(
        tar(*pair("\udcff")), [("\\xff", -1, "bad_key")], ""
    ),
    "a key with control characters": Shard(tar(*pair("a\x1b[31m")), [("a\\x1b[31m", -1, "bad_key")], ""),
    "a key in a folder": Shard(tar(*pair("./cats/a")), [("./cats/a", 1, "ok")], "all samples"),
    "a key that leads out of its folder": Shard(
        tar(*pair("../a"), *pair("/b", 2)), [("../a", -1, "bad_key"), ("/b", -1, "bad_key")], ""
    ),
    "cut off": Shard(
        tar(*pair("a"), *pair("b"))[: 3 * 512 + 2 * len(GOOD)], [("a", 1, "ok"), ("x.tar#1", -1, "bad_shard")], ""
    ),
    "cut off in a file that a link needs": Shard(
        tar(("in/b.png", "../blobs/77", SYMBOLIC), ("in/b.cls", b"3"), ("blobs/77", GOOD))[: 5 * 512],
        [("in/b", -1, "bad_image"), ("x.tar#1", -1, "bad_shard")], "",
    ),
    "a damaged header": Shard(
        damaged_header(), [("a", 1, "ok"), ("x.tar#1", -1, "bad_shard")], ""
    ),
    "no tar": Shard(b"not a tar" * 200, [("x.tar#0", -1, "bad_shard")], ""),
    "empty": Shard(b"", [("x.tar#0", -1, "bad_shard")], ""),
}  # fmt: skip
