"""Say which class each image file has: by its folder as torchvision's ImageFolder, by its name, or by a table."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.data.pack import files, tables
from pipeline.data.pack.classes import SHIPPED, Classes, wordnet
from pipeline.data.pack.files import Passed
from pipeline.errors import BadInput

Sort = Literal["auto", "text", "number"]
"""How folders are sorted: as text; by the numbers in their names; auto: as numbers if all are nothing else, else as text."""


@dataclass
class Labelled:
    """Hold image files with their classes, sorted by path; `classes` is None where none has a name; `notes` for a person."""

    images: list[tuple[Path, int]]
    classes: Classes | None = None
    notes: list[str] = field(default_factory=list)


def labelled(source: Path, labels: str, pattern: str = "*", classes: Classes | None = None, sort: Sort = "auto") -> Labelled:
    """Return the image files below a folder with their classes.

    labels   where classes come from. `folder`: the folders in `source`, in order, are the classes 0, 1, ...; `name`: the number
             after the last underscore of the file's name; else the path of a CSV file of file name, class
    pattern  glob pattern of the files' names
    classes  names in the order of the labels: folders and the words of a CSV are looked up there
    sort     order of the folders, without `classes`
    Raises BadInput if an image has no class, or a class no image.
    """
    if not source.is_dir():
        raise BadInput(f"{source} is not a folder: give the folder that holds the images")
    passed = Passed()
    if labels == "folder":
        found = _by_folder(source, pattern, classes, sort, passed)
    else:
        every = files.images(source, passed, pattern)
        numbers, notes = (_by_name(every), list[str]()) if labels == "name" else tables.classes(every, source, labels, classes)
        found = Labelled(list(zip(every, numbers, strict=True)), classes, notes)
    if not found.images:
        raise BadInput(f"{source} holds no file {pattern} that ends in {', '.join(files.endings())}")
    found.notes += passed.said()
    return within(found)


def within(found: Labelled) -> Labelled:
    """Return labelled images as they are. Raises BadInput if one has a label beyond their classes."""
    file, beyond = max(found.images, key=lambda image: image[1])
    if found.classes and beyond >= len(found.classes.every):
        raise BadInput(f"{file} has the class {beyond}, the classes end at {len(found.classes.every) - 1}: add what is missing")
    return found


def _by_folder(source: Path, pattern: str, classes: Classes | None, sort: Sort, passed: Passed) -> Labelled:
    """Return the images of folders: the first level alone makes classes, and what lies deeper belongs to them."""
    names, notes = files.folders(source), list[str]()
    if not names:
        raise BadInput(f"{source} holds no folders: expected one for each class, or use --labels name or a CSV")
    files.beside(source, passed)
    if classes is None:
        ordered, notes = _sorted(names, sort)
        classes = Classes.of_folders(ordered)
    images = []
    for name in names:
        label, lacking = classes.label(name, f"folder {source / name}"), Passed()
        inside = files.images(source / name, lacking, pattern)
        if not inside:
            there = "; ".join(lacking.said()) or "it is empty"
            raise BadInput(f"class {name!r} has no image ({there}): add some, or remove the folder {source / name}")
        images += [(file, label) for file in inside]
        for reason, others in lacking.files.items():
            passed.files.setdefault(reason, []).extend(others)
    return Labelled(sorted(images), classes, notes)


def _sorted(names: Sequence[str], sort: Sort) -> tuple[list[str], list[str]]:
    """Return the names of folders in the order of their labels, and what to say of it."""
    text, number = sorted(names), sorted(names, key=_by_number)
    if sort == "number" or (sort == "auto" and all(re.fullmatch("[0-9]+", name) for name in names)):
        differ = f": {number[:3]} and so on, not {text[:3]} as torchvision does; --sort text does that"
        return number, ["the folders are sorted as numbers" + (differ if number != text else "")]
    notes = []
    if set(names) <= wordnet() and len(names) < len(wordnet()):
        notes = [f"{len(names)} folders are WordNet ids and get the classes 0 to {len(names) - 1}: "
                 f"--classes {SHIPPED} gives them those of ImageNet"]  # fmt: skip
    elif number != text:
        notes = [f"the folders are sorted as text: {text[:3]} and so on; --sort number sorts by the numbers in them"]
    return text, notes


def _by_number(name: str) -> list[tuple[int, int | str]]:
    """Return what sorts names by the numbers in them."""
    return [(0, int(part)) if part[0] in "0123456789" else (1, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


def _by_name(every: Sequence[Path]) -> list[int]:
    """Return the number at the end of each file's name. Raises BadInput."""
    found = []
    for file in every:
        match = re.search(r"_([0-9]{1,9})$", file.stem)
        if not match:
            raise BadInput(f"{file.name} does not end in _CLASS: use --labels folder or a CSV")
        found.append(int(match[1]))
    return found


def counts(images: Sequence[tuple[Path, int]]) -> Counter[int]:
    """Return how many images each label has."""
    return Counter(label for _, label in images)
