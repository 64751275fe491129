"""Change shards: bytes, headers whose checksum is right, members, archives, gzip; and compare with Python's tarfile."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Literal

from PIL import Image

from benchmarks.fuzz import tars
from benchmarks.fuzz.changes import NUMBERS, mutated, rearranged
from benchmarks.fuzz.kind import FAULTS, OTHER, SAME, Kind, Unsound, one_line, twice
from pipeline.data import keys, shards
from pipeline.data.pictures import ENDINGS
from pipeline.data.samples import Sample
from pipeline.errors import ShardUnusable

STATUSES = {"ok", "bad_shard", "bad_key", "bad_image", "bad_label"}

KEYS = ("a", "b", "b.1", "v1.5", "in/c", "./d", "图" * 30, "x" * 150, "e f", "__g__", "A", "..h")
"""Keys of sound samples."""

ODD_NAMES = (
    "", ".", "/", "a.", ".cls", "a.png/", "../a.png", "/a.png", "a//b.png", "a\x1b[31m.png", "\udcff.png", "a\n.cls",
    "a\0b.png", "a.PNG", "a.b.c.png", "__meta__/a.png", "a.seg.png", "a.png.cls", "a.cls.png", "\u202egnp.a", " .png", "a .cls",
    "x" * 1100 + ".png",
)  # fmt: skip
"""Names that are none, or hard to read."""

LABELS = (
    b"", b" 3\n", b"-1", b"1_0", b"1e3", b"0x1", b"999999999", b"1234567890", b"\xd9\xa3", b"3\0",
    b"\xef\xbb\xbf3", b"3 4", b"007",
)  # fmt: skip
"""Contents of labels."""

FIELDS = {
    "name": (0, 100), "mode": (100, 8), "size": (124, 12), "time": (136, 12), "sum": (148, 8), "type": (156, 1),
    "link": (157, 100), "magic": (257, 8), "owner": (265, 32), "prefix": (345, 155), "sparse": (386, 97), "real": (483, 12),
}  # fmt: skip
"""Where the fields of a header lie, and how long they are."""

SIZES = (
    b"", b"00000000000\0", b"00000000001\0", b"77777777777\0", b"-0000000001\0", b"\x80" + bytes(10) + b"\x10", b"\xff" * 12,
    b"\x80" + b"\xff" * 11, b" 1000", b"99999999999\0", b"0o17\0", b"1_0\0", b"00000001000\0",
)  # fmt: skip
"""Contents of number fields."""

PAX = (
    "size", "path", "linkpath", "mtime", "uid", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.map",
    "GNU.sparse.realsize", "GNU.sparse.size", "hdrcharset", "SCHILY.xattr.user.x", "path\0",
)  # fmt: skip
PAX_VALUES = (
    "", "0", "-1", "1", "512", "99999999999999", "a.png", "../x", "nan", "1e9", "BINARY", "0,512,1024,512", "x" * 3000, "\x1b",
)  # fmt: skip
"""Extended attributes, and their values."""

Style = Literal[0, 1, 2]
"""How headers are written, by the numbers of tarfile."""


@dataclass(frozen=True)
class Member:
    """Hold a member of a tar as it is written: its header of one block or more, and its content."""

    header: bytes
    content: bytes = b""

    @property
    def bytes(self) -> bytes:
        """Return the member as it stands in a tar."""
        return self.header + self.content + bytes(-len(self.content) % tarfile.BLOCKSIZE)


class Shards(Kind):
    """Read mutated shards: every sample is what tarfile reads, or a row with a reason; none vanishes in silence."""

    def attempt(self, chance: Random) -> str:
        """Read one mutant; see `Kind.attempt`."""
        sound, data = _made(chance)
        path = self.folder / f"x{chance.choice(('.tar', '.tar', '.tar.gz', '.tgz'))}"
        path.write_bytes(data)
        found = twice(lambda: _read(path))
        assert isinstance(found, list)
        _compare(found, data)
        _check_part(path, found, chance)
        if any(sample.status != "ok" for sample in found):
            return FAULTS
        path.write_bytes(sound)
        return SAME if found == _read(path) else OTHER


def _read(path: Path) -> list[Sample]:
    """Return all samples of a shard. Raises Unsound if the count or the labels of the first reading were others."""
    shard = shards.inspect(path)
    found = shards.read(shard, range(shard.images))
    labels = [sample.label for sample in found if sample.status == "ok"]
    if len(found) != shard.images or (labels and not shard.labels[0] <= min(labels) <= max(labels) <= shard.labels[1]):
        raise Unsound(f"planned {shard.images} images with labels {shard.labels}, read {len(found)} with {sorted(set(labels))}")
    return found


def _check_part(path: Path, found: list[Sample], chance: Random) -> None:
    """Raise Unsound if some samples read alone are others than among all."""
    shard = shards.inspect(path)
    places = sorted(chance.sample(range(len(found)), chance.randint(0, len(found))))
    try:
        alone = shards.read(shard, places)
    except ShardUnusable as error:
        raise Unsound(f"the shard reads whole, but not in part: {error}") from None
    if alone != [found[place] for place in places]:
        raise Unsound(f"samples {places} alone are {alone!r:.300}, among all {[found[p] for p in places]!r:.300}")


def _compare(found: list[Sample], data: bytes) -> None:
    """Raise Unsound if samples are not what tarfile reads, or lack one that it reads."""
    names = [sample.key for sample in found]
    if len(set(names)) < len(names):
        raise Unsound(f"keys twice: {names}")
    for sample in found:
        _check_one(sample)
    try:
        files = tars.files(data)
    except tars.NotRead:
        return
    for sample in found:
        if sample.status == "ok" and not _is_there(sample, files):
            raise Unsound(f"tarfile reads no image and label {sample.key!r} with this content: it has {list(files)}")
    lost = [key for key in tars.pairs(files) if keys.shown(key) not in names]
    if lost and not any(sample.status == "bad_shard" for sample in found):
        raise Unsound(f"tarfile reads samples {lost}, barrage has {names}")


def _check_one(sample: Sample) -> None:
    """Raise Unsound if a sample contradicts itself."""
    good = sample.status == "ok"
    if sample.status not in STATUSES or good == bool(sample.error) or (sample.image and not good):
        raise Unsound(f"status {sample.status!r} with {sample.error!r}")
    if good and keys.fault(sample.key):
        raise Unsound(f"a sound sample has the key {sample.key!r}")
    one_line(sample.key)
    one_line(sample.error or "-")


def _is_there(sample: Sample, files: dict[str, bytes]) -> bool:
    """Return whether files hold the image and the label of a sample under its key."""
    mine = {name[len(sample.key) + 1 :].lower(): data for name, data in files.items() if name.startswith(f"{sample.key}.")}
    image = any(data == sample.image for ending, data in mine.items() if ending.rpartition(".")[2] in ENDINGS)
    return (image and mine.get("cls", b"").strip().lstrip(b"0") == b"%d" % sample.label) or (
        image and not sample.label and set(mine.get("cls", b"").strip()) == {ord("0")}
    )


def _made(chance: Random) -> tuple[bytes, bytes]:
    """Return a sound shard, and a mutant of it."""
    archives = [_members(chance) for _ in range(chance.choice((1, 1, 1, 2)))]
    sound = b"".join(_closed(members) for members in archives)
    data = sound
    if chance.random() < 0.65:
        changed = [rearranged(members, chance, _changer(chance), _extra(chance)) for members in archives]
        data = b"".join(_closed(members, chance) for members in changed)
    packed = chance.random() < 0.15
    if data == sound and not packed:
        data = mutated(data, chance)
    if packed:
        data = gzip.compress(mutated(data, chance) if chance.random() < 0.3 else data, mtime=0)
        data = mutated(data, chance) if chance.random() < 0.6 else data
    return sound, data


def _closed(members: list[Member], chance: Random | None = None) -> bytes:
    """Return members as an archive with its end; some of chance's are odd."""
    end = bytes(1024)
    if chance and chance.random() < 0.1:
        end = chance.choice((b"", bytes(512), bytes(512 * 5), bytes(700), b"\0" * 1024 + b"x" * 512, b"x" * 1024))
    return b"".join(member.bytes for member in members) + end


def _members(chance: Random) -> list[Member]:
    """Return the members of a sound archive: some samples in some order, and what stands beside them."""
    styles: tuple[Style, ...] = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
    style = chance.choice(styles)
    found = []
    for key in chance.sample(KEYS, chance.randint(1, 4)):
        key = key[:60] if style == tarfile.USTAR_FORMAT else key
        picture = chance.choice(PICTURES)
        found += [_file(f"{key}.{picture[0]}", picture[1], style), _file(f"{key}.cls", b"%d" % chance.randrange(10), style)]
    found += chance.sample(_extra(chance), chance.choice((0, 0, 1, 2)))
    if chance.random() < 0.3:
        chance.shuffle(found)
    return found


def _file(name: str, content: bytes, style: Style = tarfile.GNU_FORMAT, **fields: object) -> Member:
    """Return a member with the header that Python's tarfile writes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    try:
        return Member(info.tobuf(style, "utf-8", "surrogateescape"), content)
    except ValueError:  # no room in a plain header
        return Member(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"), content)


def _extra(chance: Random) -> list[Member]:
    """Return members that a shard may have besides: links, folders, pipes, attributes, odd names and labels, sparse files."""
    name = chance.choice(ODD_NAMES)
    target = chance.choice(("a.png", "a.cls", "../a.png", "nowhere", "z.png", ""))
    attributes = {chance.choice(PAX): chance.choice(PAX_VALUES) for _ in range(chance.randint(1, 3))}
    sparse = _file("s.png", bytes(512), type=b"S")
    return [
        _file(chance.choice(("z.png", "z.cls", "a.png")), b"", type=chance.choice((b"1", b"2")), linkname=target),
        _file("folder", b"", type=b"5"),
        _file("pipe.png", b"", type=chance.choice((b"6", b"3", b"4", b"7", b"Z", b"V"))),
        _file(name, chance.choice(PICTURES)[1]),
        _file("a.cls", chance.choice(LABELS)),
        _file("n.cls", chance.choice(LABELS)),
        _file("n.png", chance.choice((b"", b"no image", PICTURES[0][1][:40]))),
        _file("a.json", b"{}"),
        _file("p.png", PICTURES[0][1], tarfile.PAX_FORMAT, pax_headers=attributes),
        Member(_global(attributes)),
        Member(_resealed(sparse.header, "sparse", b"00000000000\0" + b"00000001000\0"), sparse.content),
        Member(_long(chance), b""),
    ]


def _global(attributes: dict[str, str]) -> bytes:
    """Return a header of attributes for all members behind it."""
    return tarfile.TarInfo.create_pax_global_header(attributes)


def _long(chance: Random) -> bytes:
    """Return a GNU header of a long name, or of a long link, whose name follows or not."""
    name = chance.choice((b"a.png\0", b"x" * 2000, b"", b"\xff.png\0", b"a" * 200 + b".cls\0"))
    member = _file("././@LongLink", name, type=chance.choice((b"L", b"K")))
    return member.bytes


def _changer(chance: Random) -> Callable[[Member], Member]:
    """Return a change of one member: a field of its header with a right checksum, its content, or all its bytes."""

    def changed(member: Member) -> Member:
        match chance.choice(("field", "field", "field", "content", "bytes")):
            case "field":
                name = chance.choice(list(FIELDS))
                return replace(member, header=_resealed(member.header, name, _value(name, member.header, chance)))
            case "content" if member.content:
                return replace(member, content=mutated(member.content, chance))
            case _:
                return Member(mutated(member.header, chance), member.content)

    return changed


def _value(field: str, header: bytes, chance: Random) -> bytes:
    """Return another content of a field of a header."""
    at, length = FIELDS[field]
    match field:
        case "type":
            return chance.choice(
                (b"0", b"\0", b"1", b"2", b"3", b"5", b"7", b"L", b"K", b"S", b"x", b"g", b"X", b"D", b"M", b"\xff")
            )
        case "size" | "time" | "real" | "mode" if chance.random() < 0.7:
            return chance.choice(SIZES)
        case "size":
            return b"%011o\0" % (chance.choice(NUMBERS) % (1 << 33))
        case "name" | "link" | "prefix" if chance.random() < 0.7:
            return chance.choice(ODD_NAMES).encode("utf-8", "surrogateescape")
        case "sum" | "magic" if chance.random() < 0.5:
            return chance.choice((b"", b"ustar\x0000", b"ustar  \0", b"0000000\0", b"\xff" * 8))
        case _:
            return mutated(header[-512:][at : at + length], chance)


def _resealed(header: bytes, field: str, value: bytes) -> bytes:
    """Return a header with another content of a field of its last block, and a right checksum unless that is the field."""
    before, block = header[:-512], bytearray(header[-512:].ljust(512, b"\0"))
    at, length = FIELDS[field]
    block[at : at + length] = value[:length].ljust(length, b"\0")
    if field != "sum":
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return before + bytes(block)


def _pictures() -> Iterator[tuple[str, bytes]]:
    """Yield small image files, (ending, content), each another."""
    for number, (ending, kind) in enumerate(
        (("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("ppm", "PPM"), ("webp", "WEBP"), ("png", "PNG"))
    ):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (40 * number, 10, 200)).save(file, kind)
        yield ending, file.getvalue()


PICTURES = list(_pictures())
