"""Keep the checkpoints of one unit: each attempt writes a file of its own, and the next attempt resumes from the furthest.

checkpoints/<unit>.safetensors, checkpoints/<unit>.attempt1.safetensors, ...

A worker that was given up may wake again, perhaps in the middle of a write. It cannot replace its successor's newer state by
its own older one, as it writes another file. An attempt claims its number by creating the file, and numbers grow: no two
attempts share a file. What it creates is a checkpoint without tensors, from which nothing can go on: the state may be
gigabytes, which no bucket takes in one request that creates.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from pipeline.storage.files import Entry
from pipeline.store import checkpoints
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
from pipeline.store.tensor_files import Watch

_END = ".safetensors"


def unit_of(file: str) -> str:
    """Return the name of the unit whose checkpoint a file is, of any attempt."""
    return re.sub(r"\.attempt\d+$", "", file.rpartition("/")[2].removesuffix(_END))


class Attempts:
    """Hold the checkpoints of a unit as one of its attempts sees them; `name` is that of the first."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._stem = store, name.removesuffix(_END)
        self._mine = ""
        self._seen: list[int] = []  # what was there before this attempt

    def furthest(self, unit: str, identity: str) -> tuple[Header, dict[str, Tensor]] | None:
        """Return the sound checkpoint of this unit and cell with the most steps, or None.

        Raises BadInput for a checkpoint of a later format.
        """
        self._seen = self._numbers()
        found: list[tuple[float, int]] = []
        for number in self._seen:
            header = self._header(number)
            if header and (header.unit, header.identity) == (unit, identity):
                found.append((header.step, number))
        for _, number in sorted(found, reverse=True):
            data = self._store.read(self._name(number)) or b""
            header = checkpoints.header(data, self._name(number))  # the file may be another by now, of the same attempt
            tensors = checkpoints.decode(data)
            if header and tensors:
                return header, tensors
        return None

    def save(self, header: Header, tensors: Mapping[str, Tensor], watch: Watch = lambda: None) -> int:
        """Write this attempt's checkpoint, and remove those of earlier attempts. Return its bytes.

        `watch` is called before each piece; what it raises ends the write, and the checkpoints are as before.
        """
        data = checkpoints.encode(header, tensors, watch)
        mine = self._mine or self._claimed(header)
        try:
            self._store.replace(mine, data)
        except BaseException:
            if not self._mine:
                self._store.remove(mine)
            raise
        self._mine = mine
        for number in self._seen:
            self._store.remove(self._name(number))
        self._seen = []
        return data.size

    def _claimed(self, header: Header) -> str:
        """Create a file for this attempt, which no other has, and return its name."""
        empty = bytes(checkpoints.encode(replace(header, step=0.0), {}))
        number = 1 + max([*self._seen, *self._numbers()], default=-1)
        while not self._store.create(self._name(number), empty):
            number += 1
        return self._name(number)

    def clear(self) -> None:
        """Remove all checkpoints: the unit is committed."""
        for number in self._numbers():
            self._store.remove(self._name(number))

    def _header(self, number: int) -> Header | None:
        """Return the header of an attempt's checkpoint; None if it is damaged or gone."""
        data = self._store.read(self._name(number), checkpoints.HEADER_BYTES)
        return checkpoints.header(data, self._name(number)) if data else None

    def _name(self, number: int) -> str:
        return f"{self._stem}.attempt{number}{_END}" if number else f"{self._stem}{_END}"

    def _numbers(self) -> list[int]:
        """Return the numbers of the attempts that left a file."""
        return [int(n) for n in map(self._number, self._store.list(f"{self._stem}*{_END}")) if n.isdigit()]

    def _number(self, listed: Entry) -> str:
        """Return the number of a listed file; empty if it is another unit's, whose name begins alike."""
        middle = listed.name.rpartition("/")[2].removeprefix(self._stem.rpartition("/")[2]).removesuffix(_END)
        return middle.removeprefix(".attempt") if middle else "0"
