"""Find out which files of a tar belong to one sample, whatever their order.

As in WebDataset, a file's key is its path up to the first dot of its name, and what follows is its ending: `a.jpg` and `a.cls`
are the image and the label of sample a, also where other files stand between them. Names with more dots, `b.1.jpg` and
`b.1.cls`, are sample b.1. A file `b.seg.png` without such a partner is a further field of b, which is not used.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.data.pictures import ENDINGS
from pipeline.data.tars.members import Member, Passed, members
from pipeline.data.tars.stream import Forward, HashingStream
from pipeline.errors import BadInput, ShardUnusable, StorageError, steady

LABEL = "cls"
"""The ending of files that hold a label."""

Keep = Callable[[int, str, Member], bool]
"""Say whether the bytes of a file are wanted, from the place of its sample, as far as it is known yet, and its ending."""

Files = dict[str, Member]
"""The files of a sample by ending, in lower case."""

NOWHERE = -1
"""The place of a file that is of no sample."""

HOPS = 40
"""Links from one to the next that are followed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Name a sample of a tar and its files; `first` is the number of its first file."""

    key: str
    first: int
    files: Files

    @property
    def image(self) -> Member | None:
        """Return the file of the image, or None if it has none."""
        return next((self.files[ending] for ending in ENDINGS if ending in self.files), None)

    @property
    def label(self) -> Member | None:
        """Return the file of the label, or None if it has none."""
        return self.files.get(LABEL)

    @property
    def whole(self) -> bool:
        """Return whether it has an image and a label."""
        return self.image is not None and self.label is not None


class Begun(NamedTuple):
    """Name the file that is being read: where it is listed, and where its bytes end."""

    files: Files = {}  # noqa: RUF012 (nothing is ever added to it)
    name: str = ""
    end: int = 0


@dataclass
class Contents:
    """Hold what one pass over a shard found, and what ended it early, if anything.

    groups  the files whose names agree up to the first dot, by that part
    others  files without key or ending, by path
    kept    the bytes of some files, by number
    hashes  the SHA-256 of some files, by number
    folded  whether the tar is gzipped
    """

    groups: dict[str, Files] = field(default_factory=dict)
    others: Files = field(default_factory=dict)
    kept: dict[int, bytes] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    passed: Passed = field(default_factory=Passed)
    fault: str = ""
    folded: bool = False

    def samples(self) -> list[Listed]:
        """Return the samples in the order of their first files; of a shard that ends early without the one it ends in."""
        found = [sample for key, files in self.groups.items() if files for sample in _samples(key, files)]
        found.sort(key=lambda sample: sample.first)
        return found[:-1] if self.fault and found and not found[-1].whole else found

    def resolver(self) -> Callable[[Member], Member | None]:
        """Return the function from a file or link to the file that holds its bytes; to None if the shard has none."""
        files = {_path(name): file for name, file in self.others.items()}
        files |= {_path(file.name): file for group in self.groups.values() for file in group.values()}

        def resolved(file: Member) -> Member | None:
            for _ in range(HOPS):
                if file.link is None:
                    return file
                if (target := files.get(_path(file.link))) is None:
                    return None
                file = target
            return None

        return resolved


def scan(stream: HashingStream, keep: Keep, digest: Keep = lambda place, ending, file: False) -> Contents:
    """Read a shard from end to end. Raises BadInput if it holds a file twice, and what reading the stream raises.

    keep    says of which files the bytes are kept, `digest` of which the hash is
    """
    found = Contents()
    try:
        file = Forward(stream)
        found.folded = file.folded
        _read_members(file, stream.url, (keep, digest), found)
    except (StorageError, ShardUnusable, BadInput):  # the shard is out of reach, and its images may be good; or it is refused
        raise
    except Exception as error:
        found.fault = f"the shard is {'truncated' if _early(error) else 'damaged'}: {steady(error)[:120]}"
    stream.read_to_end()
    return found


def _read_members(file: Forward, url: str, wanted: tuple[Keep, Keep], found: Contents) -> None:
    """Add the files of a tar to `found`; one that is cut off is left out again. Raises any Exception at a damaged place."""
    places, begun = dict[str, int](), Begun()
    try:
        for member in members(file, found.passed):
            split = _split(member.name)
            key, ending = split or ("", "")
            files = found.groups.setdefault(key, {}) if split else found.others
            place = places.setdefault(key, len(places)) if split else NOWHERE
            if ending in files:
                raise BadInput(f"shard {url} holds {ascii(member.name)[:120]} twice: give each sample a key of its own")
            begun = Begun(files, ending if split else member.name, file.tell() + (member.size if member.link is None else 0))
            files[begun.name] = member
            kept, hashed = (what(place, ending.rpartition(".")[2], member) for what in wanted)
            if member.link is None and not member.sparse and (kept or hashed):
                data = _whole(file.read(member.size), member)
                found.kept |= {member.number: data} if kept else {}
                found.hashes |= {member.number: hashlib.sha256(data).hexdigest()} if hashed else {}
    except Exception:
        if file.tell() < begun.end:
            begun.files.pop(begun.name, None)
        raise


def unused(found: Contents, samples: Iterable[Listed]) -> Mapping[str, int]:
    """Return what a shard holds besides the files of its samples: how many members of which kind."""
    used = {file.number for sample in samples for file in (sample.image, sample.label) if file}
    counts = Counter(found.passed.counts)
    counts["file without key or ending"] += len(found.others)
    for files in found.groups.values():
        counts.update(f".{ending.rpartition('.')[2]}"[:20] for ending, file in files.items() if file.number not in used)
    return +counts


def _samples(key: str, files: Files) -> Iterator[Listed]:
    """Yield the samples of the files whose names agree up to the first dot."""
    parts: dict[str, Files] = {}
    for ending, file in files.items():
        part, _, last = ending.rpartition(".")
        if part and (last in ENDINGS or last == LABEL):
            parts.setdefault(part, {})[last] = file
    dotted = [Listed(f"{key}.{part}", min(f.number for f in own.values()), own) for part, own in parts.items()]
    plain = Listed(key, min(file.number for file in files.values()), files)
    if plain.image or plain.label or not dotted:
        yield plain
        yield from (sample for sample in dotted if sample.whole)
    else:
        yield from dotted


def _split(name: str) -> tuple[str, str] | None:
    """Return the key and the ending of a file, or None if it has none, or is one of the `__meta__` files of WebDataset."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    first = name.split("/")[0]
    if not stem or not dot or (first.startswith("__") and first.endswith("__") and len(first) > 3):
        return None
    return folder + slash + stem, ending.lower()


def _whole(data: bytes, member: Member) -> bytes:
    if len(data) < member.size:
        raise EOFError("unexpected end of data")
    return data


def _early(error: Exception) -> bool:
    """Return whether an error says that the file ends too early."""
    return isinstance(error, EOFError) or type(error).__name__ == "TruncatedHeaderError"


def _path(name: str) -> str:
    """Return a path in a tar without what changes nothing."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
