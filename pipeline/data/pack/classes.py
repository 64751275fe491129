"""Name classes: what stands for which label, from folders or a file, and the file beside shards that keeps it."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pipeline.config.fields import WORDNET
from pipeline.errors import BadInput
from pipeline.storage import urls

CLASSES = "classes.json"
"""File beside shards: the class of each label in order, [{name, folder}]; no folder where none held its images."""

SHIPPED = "imagenet"
"""Instead of a file: the 1000 classes of ImageNet, by their WordNet ids."""


class Class(BaseModel):
    """Name one class. `folder` held its images; a WordNet id stands there too, if the class has one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    folder: str | None = None

    @property
    def line(self) -> str:
        """Return the line of a file that names it."""
        has_id = self.folder and self.folder != self.name and WORDNET.fullmatch(self.folder)
        return f"{self.folder} {self.name}" if has_id else self.name


@dataclass(frozen=True)
class Classes:
    """Hold the classes by label, 0 to n - 1."""

    every: tuple[Class, ...]

    @classmethod
    def of_folders(cls, names: Sequence[str]) -> "Classes":
        """Return the classes of folders, in this order."""
        return cls(tuple(Class(name=name, folder=name) for name in names))

    @property
    def names(self) -> list[str]:
        """Return the names by label."""
        return [each.name for each in self.every]

    @property
    def lines(self) -> list[str]:
        """Return the lines of a file that names these classes."""
        return [each.line for each in self.every]

    @cached_property
    def labels(self) -> Mapping[str, list[int]]:
        """Return the labels that a folder or name stands for: one, but for a name that several classes have."""
        found: dict[str, list[int]] = {}
        for label, each in enumerate(self.every):
            for word in dict.fromkeys(filter(None, (each.folder, each.name, each.line))):
                found.setdefault(word, []).append(label)
        return found

    @cached_property
    def are_numbers(self) -> bool:
        """Return whether any class is called by a number: then no other number stands for a label."""
        return any(re.fullmatch("[0-9]+", each.name) for each in self.every)

    def label(self, word: str, where: str) -> int:
        """Return the label of a folder or name. Raises BadInput, which says `where` it stands."""
        labels = self.labels.get(word, [])
        if len(labels) == 1:
            return labels[0]
        if labels:
            raise BadInput(f"{where}: several classes are called {word!r}: use their WordNet ids")
        near = get_close_matches(word, self.labels, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {len(self.every)}, such as {self.every[0].name!r}"
        raise BadInput(f"{where}: {word!r} is none of the classes: {hint}")

    def described(self, counts: Mapping[int, int]) -> Iterator[str]:
        """Yield a line for each class that has images: its label, its names, how many; of many classes only some."""
        labels = sorted(counts)
        for place, label in enumerate(labels):
            if len(labels) > SHOWN and SHOWN // 2 <= place < len(labels) - SHOWN // 2:
                if place == SHOWN // 2:
                    yield f"... {len(labels) - 2 * (SHOWN // 2)} more, all in {CLASSES}"
                continue
            each = self.every[label]
            folder = f" ({each.folder})" if each.folder and each.folder != each.name else ""
            yield f"class {label}: {each.name}{folder}, {counts[label]} image{'s' * (counts[label] > 1)}"


SHOWN = 20
"""Classes that are shown in full."""

_FILE = TypeAdapter(list[Class])


def given(classes: Sequence[str] | str | None) -> Classes | None:
    """Return classes as a campaign gives them: a file, SHIPPED, or their lines, in which a name may stand twice; None without.

    Raises BadInput.
    """
    if isinstance(classes, str):
        return of_file(classes)
    return Classes(tuple(map(_of_line, classes))) if classes else None


def of_file(path: str) -> Classes:
    """Return the classes that a file names, one a line in the order of their labels: names, or WordNet ids with or without one.

    `path` may be SHIPPED. Raises BadInput.
    """
    file = Path(__file__).with_name("imagenet.txt") if path == SHIPPED else Path(path)
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").rstrip().split("\n")]
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"classes {path} cannot be read: give a text file in UTF-8, a class a line, or {SHIPPED}") from None
    if lines == [""]:
        raise BadInput(f"classes {path}: no class: expected a name or a WordNet id in each line")
    if "" in lines:
        raise BadInput(
            f"classes {path}, line {lines.index('') + 1}, is empty: each line is a class, so remove it or name its class"
        )
    found = [_of_line(line) for line in lines]
    twice, times = Counter(each.folder or each.name for each in found).most_common(1)[0]
    if times > 1:
        raise BadInput(f"classes {path} names {twice!r} twice: write WordNet ids in front of the names, or correct one")
    return Classes(tuple(found))


def _of_line(line: str) -> Class:
    found = WORDNET.fullmatch(line)
    return Class(name=found[2] or found[1], folder=found[1]) if found else Class(name=line)


def stored(folder: str) -> Classes | None:
    """Return the classes that are kept beside the shards of a folder or URL, or None. Raises BadInput for a damaged file."""
    data = urls.at(folder).read(CLASSES)
    if data is None:
        return None
    try:
        return Classes(tuple(_FILE.validate_python(json.loads(data))))
    except (ValueError, ValidationError, RecursionError):
        raise BadInput(f"{urls.join(folder, CLASSES)} is damaged: restore it, or remove it to do without names") from None


def store(folder: str, classes: Classes) -> None:
    """Keep classes beside the shards of a folder. Raises BadInput if others are kept there, whose labels these would change."""
    earlier = stored(folder)
    changed = (
        (i for i, (a, b) in enumerate(zip(earlier.every, classes.every, strict=False)) if a.name != b.name) if earlier else ()
    )
    for label in changed:
        was, now = earlier.names[label], classes.names[label]  # type: ignore[union-attr]
        raise BadInput(f"{folder} holds shards in which class {label} is {was!r}, now it is {now!r}: use another folder")
    longer = earlier if earlier and len(earlier.every) > len(classes.every) else classes
    urls.at(folder).replace(CLASSES, json.dumps([each.model_dump() for each in longer.every], indent=1).encode())


@lru_cache(maxsize=1)
def wordnet() -> frozenset[str]:
    """Return the WordNet ids of ImageNet's classes."""
    return frozenset(each.folder or "" for each in of_file(SHIPPED).every)
