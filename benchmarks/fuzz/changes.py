"""Change bytes, lists of chunks and parsed values at random."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

ODD = (
    b"\xff\xfe", b"\x00", b"\x1b[31m", "\u202e".encode(), b": ", b"- ", b"\n", b"&a ", b"*a", b"!!python/object:os.system ",
    b"1e999", b"-1", b"99999999999999999999", b"null", b"true", b"[" * 60, b"{" * 60, b"\xed\xa0\x80", b"<<: ", b".nan",
)  # fmt: skip
"""Bytes that parsers trip over."""

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
"""Numbers at which fields of files overflow."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**9, 2**63, 10**30, 0.5, -0.5, 1e-320, 1e308, float("inf"), float("nan"), 0.1 + 2**-52,
    1e-300, 16 / 255, "", " ", "0", "1_0", "8/255", "1/0", "1e999999999", "1/1e-99999999", "9" * 500, "-1", "nan", "yes",
    "\x00", "\x1b[31m", "\u202e", "\ud800", "é" * 300, "x" * 5000, "../..", "/etc/passwd", "a/b", "~", "s3://nowhere/x",
    "http://x", "{a,b}", "{0..3}", "*", "[a", "!!x", "a\nb", [], [[]], [None], ["a", "a"], {}, {"a": 1}, {"": 0},
)  # fmt: skip
"""Values that a file may hold where others are expected."""


def mutated(data: bytes, chance: Random) -> bytes:
    """Return some bytes with a flipped bit, or one to four changes: ends cut, bytes doubled, dropped, zeroed or made odd."""
    changed = bytearray(data)
    if changed and chance.random() < 0.5:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(changed) + 1), chance.randint(1, 64)
        place, new = chance.choice(WAYS)(bytes(changed[at : at + length]), chance)
        changed[at : at + place if place >= 0 else len(changed)] = new
    return bytes(changed)


Way = Callable[[bytes, Random], tuple[int, bytes]]
"""A change of the bytes at a place: how many of them give way, all for -1, and to what."""


def _number(there: bytes, chance: Random) -> tuple[int, bytes]:
    size = chance.choice((1, 2, 4, 8))
    return size, (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, chance.choice(("big", "little")))


WAYS: tuple[Way, ...] = (
    lambda there, chance: (1, bytes([there[0] ^ 1 << chance.randrange(8)]) if there else b""),
    lambda there, chance: (1, bytes([chance.randrange(256)]) if there else b""),
    _number,
    lambda there, chance: (-1, b""),
    lambda there, chance: (len(there), b""),
    lambda there, chance: (0, there * chance.choice((1, 1, 50))),
    lambda there, chance: (0, chance.choice(ODD)),
    lambda there, chance: (len(there), bytes(len(there))),
)
"""A bit, a byte, a number, the end cut off, bytes dropped, doubled, odd ones put in, zeroed."""


def rearranged(items: Sequence[T], chance: Random, change: Callable[[T], T], others: Sequence[T] = ()) -> list[T]:
    """Return a list with one to three changes: an item changed, dropped, doubled, moved, or one of `others` put in."""
    found = list(items)
    for _ in range(chance.randint(1, 3)):
        if not found:
            break
        at = chance.randrange(len(found))
        match chance.choice(("change", "change", "change", "drop", "double", "move", "other")):
            case "change":
                found[at] = change(found[at])
            case "drop":
                del found[at]
            case "double":
                found.insert(chance.randrange(len(found) + 1), found[at])
            case "move":
                found.insert(chance.randrange(len(found)), found.pop(at))
            case "other" if others:
                found.insert(at, chance.choice(others))
    return found


def revalued(tree: Any, chance: Random) -> Any:
    """Return parsed YAML or JSON with one change at a random place: a value, a key, an item more or less."""
    if isinstance(tree, dict) and tree and chance.random() < 0.8:
        name = chance.choice(list(tree))
        match chance.choice(("deeper", "deeper", "deeper", "deeper", "drop", "rename", "add", "swap")):
            case "deeper":
                return tree | {name: revalued(tree[name], chance)}
            case "drop":
                return {key: value for key, value in tree.items() if key != name}
            case "rename":
                return {_renamed(key, chance) if key == name else key: value for key, value in tree.items()}
            case "add":
                return tree | {_renamed(name, chance): chance.choice(VALUES)}
            case _:
                other = chance.choice(list(tree))
                return tree | {name: tree[other], other: tree[name]}
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        return rearranged(tree, chance, lambda value: revalued(value, chance), VALUES)
    if isinstance(tree, str) and tree and chance.random() < 0.3:
        return mutated(tree.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
    if isinstance(tree, int | float) and chance.random() < 0.5:
        return chance.choice((-tree, tree + 1, tree * 1000, tree / 3, str(tree), [tree], float(tree)))
    return chance.choice(VALUES)


def _renamed(key: Any, chance: Random) -> Any:
    """Return another key: nearly the same, or an odd one."""
    if isinstance(key, str) and chance.random() < 0.7:
        at = chance.randrange(len(key) + 1)
        return key[:at] + chance.choice(("", "x", "_", "-", "A", " ", "é")) + key[at + chance.randint(0, 1) :]
    value = chance.choice(VALUES)
    return str(value) if isinstance(value, list | dict) else value
