"""Give barrage mutated files and hold it to its word: no traceback, no hang, no row that changes unseen, bounded memory.

    python -m benchmarks.fuzz --count 1000 [--seed 1] [--kind yaml]

Each kind of input is a line of KINDS: how a sound file is made, and what is done with a mutant. A mutant is refused (BadInput,
one line), or gives what the sound file gave. Anything else is a fault, which is printed with what makes it again; exit code 1.
"""

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.campaign import load
from pipeline.errors import BadInput
from pipeline.status.summary import Reader
from pipeline.store.committed import sources
from pipeline.store.formats import StoreWarning
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.sealed import seal
from tests.support import tiny
from tests.support.stores import synthetic

SECONDS = 10
"""A mutant that takes longer hangs."""

Answer = Any
"""What a sound input gives, comparable."""


class Hang(Exception):
    """Say that a mutant took more than SECONDS."""


@dataclass(frozen=True)
class Kind:
    """Describe a kind of input.

    make    write a sound input into an empty folder
    files   the files of it that are mutated, as patterns
    read    do what barrage does with the input; return what must not change unseen, or None if any answer is right
    """

    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], Answer]


def _campaign(folder: Path) -> None:
    (folder / "campaign.yaml").write_text(yaml.safe_dump(tiny.campaign("photos-{000000..000001}.tar")))


def _store(folder: Path) -> None:
    synthetic.store(folder, synthetic.campaign(ks=(0, 5), attacks={"pgd": {"eps": "8/255"}}), images=6, unit_images=2)


def _sealed(folder: Path) -> None:
    _store(folder)
    for cell in sources(Store(folder)):
        seal(Store(folder), cell)


def _rows(folder: Path) -> Answer:
    Reader(str(folder)).status()
    return sorted(map(repr, results(str(folder)).to_pylist()))


KINDS: dict[str, Kind] = {
    "yaml": Kind(_campaign, ("campaign.yaml",), lambda folder: load(folder / "campaign.yaml") and None),
    "plan": Kind(_store, ("campaign.yaml", "units/*.json"), _rows),
    "rows": Kind(_store, ("results/*.parquet",), _rows),
    "sealed": Kind(_sealed, ("sealed/*.parquet",), _rows),
}
"""The kinds of inputs, by name. Another kind is one line: shards, images, indices, weights."""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return some bytes with a flipped bit, or one to four changes: ends cut, bytes doubled, dropped, zeroed or made odd."""
    changed = bytearray(data)
    if chance.random() < 0.5:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(changed) + 1), chance.randint(1, 64)
        match chance.choice(("bit", "bit", "byte", "cut", "drop", "double", "odd", "zero")):
            case "bit" if changed and at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case "byte" if changed and at < len(changed):
                changed[at] = chance.randrange(256)
            case "cut":
                del changed[at:]
            case "drop":
                del changed[at : at + length]
            case "double":
                changed[at:at] = changed[at : at + length] * chance.choice((1, 1, 50))
            case "odd":
                changed[at:at] = chance.choice(ODD)
            case "zero":
                changed[at : at + length] = bytes(len(changed[at : at + length]))
    return bytes(changed)


ODD = (
    b"\xff\xfe", b"\x00", b"\x1b[31m", "\u202e".encode(), b": ", b"- ", b"\n", b"&a ", b"*a", b"!!python/object:os.system ",
    b"1e999", b"-1", b"99999999999999999999", b"null", b"true", b"[" * 60, b"{" * 60, b"\xed\xa0\x80", b"<<: ", b".nan",
)  # fmt: skip
"""Bytes that parsers trip over."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Hang in the block once it has taken this number of seconds."""

    def ring(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def verdict(kind: Kind, folder: Path, sound: Answer) -> str:
    """Return what became of a mutant: `refused`, `as before`, or a fault in words."""
    try:
        with limited(SECONDS):
            found = kind.read(folder)
    except BadInput as error:
        return "refused" if "\n" not in str(error) else f"FAULT: a message of several lines: {error!r}"
    except Hang as error:
        return f"FAULT: hangs, {error}"
    except Exception:
        return f"FAULT: {traceback.format_exc()}"
    return "as before" if sound is None or found == sound else "FAULT: rows changed unseen"


def run(name: str, count: int, seed: int) -> Iterator[tuple[int, str]]:
    """Yield the seed and the verdict of each of `count` mutants of a kind; the same seed gives the same mutant."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kind.make(folder)
        files = sorted(path for pattern in kind.files for path in folder.glob(pattern))
        sound = kind.read(folder)
        for number in range(seed, seed + count):
            chance = random.Random(f"{name} {number}")
            path = chance.choice(files)
            whole = path.read_bytes()
            path.write_bytes(mutated(whole, chance))
            yield number, verdict(kind, folder, sound)
            path.write_bytes(whole)


def main() -> None:
    """Try the mutants that were asked for; print what became of them, and the peak memory."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=1, help="the first mutant's number")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; repeat for more")
    asked, faults = parser.parse_args(), 0
    warnings.simplefilter("ignore", StoreWarning)
    for name in asked.kind or KINDS:
        began, seen = time.monotonic(), Counter[str]()
        for number, said in run(name, asked.count, asked.seed):
            seen[said.partition(":")[0]] += 1
            if said.startswith("FAULT"):
                faults += 1
                print(
                    f"{said.rstrip()}\n  again: python -m benchmarks.fuzz --kind {name} --seed {number} --count 1", flush=True
                )
        print(f"{name}: {dict(seen)} in {time.monotonic() - began:.0f} s", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
