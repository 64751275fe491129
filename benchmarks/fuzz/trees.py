"""Change the tree of `data: {folder: ...}`: names, folders, links, bytes; compare with what lies below each folder."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.fuzz.changes import mutated
from benchmarks.fuzz.kind import Unsound, twice
from benchmarks.fuzz.sources import IMAGES, NAMES, outcome, samples_of
from pipeline.data.sources import files


def folder_source(folder: Path, chance: Random) -> str:
    """Change the tree of `data: {folder: ...}`: names, folders, links, bytes."""
    place = folder / "f"
    names = chance.choice((("cat", "dog", "ant"), ("0", "2", "10"), ("n01440764", "n01443537", "n01484850")))
    for number, name in enumerate(names):
        (place / name).mkdir(parents=True)
        for at in range(2):
            (place / name / f"{NAMES[2 * number + at]}.png").write_bytes(IMAGES[2 * number + at])
    sound = samples_of(files.shards(str(place), ".folder", None)[0])
    for _ in range(chance.randint(1, 3)):
        _disturbed(place, chance)
    found = twice(lambda: samples_of(files.shards(str(place), ".folder", None)[0]))
    assert isinstance(found, list)
    there = sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))
    there = sorted(there, key=int) if all(name.isdecimal() and name.isascii() for name in there) else there
    for sample in found:
        if sample.status == "ok" and sample.image not in _below(place / there[sample.label]):
            raise Unsound(f"{sample.key} has the class {sample.label}, which is the folder {there[sample.label]!r}")
    return outcome(found, sound)


def _below(folder: Path) -> set[bytes]:
    """Return the contents of the files below a folder."""
    waiting, seen, found = [os.path.realpath(folder)], set[str](), set[bytes]()
    while waiting:
        path = waiting.pop()
        if os.path.isfile(path):
            found.add(Path(path).read_bytes())
        elif os.path.isdir(path) and path not in seen:
            seen.add(path)
            waiting += (os.path.realpath(entry.path) for entry in os.scandir(path))
    return found


ODD_FILES = (
    b".hidden", b"x" * 240 + b".png", "图".encode() * 80 + b".png", b"\xff.png", b"a\x1b[31m.png", b"a\nb.png", b"a.b.c.png",
    b"a.gif", b"a.PNG", b".ipynb_checkpoints", b"x.jpg", b"-rf.png", b" .png", b"a'\".png", "\u202egnp.png".encode(), b"__x__",
    b"__MACOSX", b"Thumbs.db", b"$(x).png",
)  # fmt: skip
"""Names of files and folders that people and systems leave."""


def _disturbed(place: Path, chance: Random) -> None:
    """Change one thing in a tree of folders."""
    every = sorted(path for path in place.rglob("*") if not path.is_symlink())
    if not every:
        return
    path = chance.choice(every)
    where = path if path.is_dir() else path.parent
    new = Path(os.fsdecode(os.path.join(os.fsencode(chance.choice((where, place))), chance.choice(ODD_FILES))))
    if not os.path.lexists(new):
        chance.choice(WAYS)(path, new, chance)


def _bytes(path: Path, new: Path, chance: Random) -> None:
    if path.is_file():
        path.write_bytes(mutated(path.read_bytes(), chance) if chance.random() < 0.8 else b"")


def _rename(path: Path, new: Path, chance: Random) -> None:
    if not new.is_relative_to(path):
        path.rename(new)


def _remove(path: Path, new: Path, chance: Random) -> None:
    if path.is_file():
        path.unlink()


def _deep(path: Path, new: Path, chance: Random) -> None:
    (new / "in" / "in").mkdir(parents=True)
    (new / "in" / "in" / "q.png").write_bytes(chance.choice(IMAGES))


WAYS: tuple[Callable[[Path, Path, Random], object], ...] = (
    _bytes, _rename, _remove, _deep,
    lambda path, new, chance: new.write_bytes(chance.choice(IMAGES)),
    lambda path, new, chance: new.mkdir(),
    lambda path, new, chance: new.symlink_to(path, path.is_dir()),
    lambda path, new, chance: new.symlink_to(new.parent, True),
    lambda path, new, chance: new.symlink_to("gone"),
)  # fmt: skip
"""What is done to a path of the tree, or at a new one: also links to it, to the folder around it, to nothing."""
