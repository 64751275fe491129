"""Read the classes of image files from a CSV file, as spreadsheets and scripts write it."""

import codecs
import csv
import io
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.data.pack.classes import Classes
from pipeline.errors import BadInput

FILE = {"file", "filename", "file_name", "image", "image_name", "path", "name", "key"}
CLASS = {"class", "label", "target", "category", "class_id", "label_id", "class_index"}
"""Words by which a heading names the column of files, and that of classes; else they are the first and the second."""


def classes(files: Sequence[Path], source: Path, labels: str, known: Classes | None) -> tuple[list[int], list[str]]:
    """Return the class of each file, by a CSV file of file, class; and what to say of lines that name no file.

    A line names a file by its path below `source`, its name, or its name without ending; a class by its number, or, with
    `known` classes, by its name. Raises BadInput.
    """
    table = _checked(Path(labels), rows(Path(labels)), known)
    names, used, found = Counter(file.name for file in files), set[str](), []
    for file in files:
        path = file.relative_to(source).as_posix()
        words = [word for word in dict.fromkeys((_plain(path), file.name, file.stem)) if word in table]
        if not words:
            raise BadInput(f"{labels} has no line for {file.name}: add `{path},CLASS`")
        if words[0] != _plain(path) and names[file.name] > 1:
            raise BadInput(
                f"pack: {labels} has a line for {words[0]}, which {names[file.name]} files are called: write their paths"
            )
        if other := next((word for word in words if table[word] != table[words[0]] and names[file.name] == 1), None):
            each = " and ".join(f"{table[word]} as {word}" for word in (words[0], other))
            raise BadInput(f"{labels}: {path} has the class {each}: keep one")
        used.update(words)
        found.append(table[words[0]])
    left = [word for word in table if word not in used]
    more = ", ..." if len(left) > 3 else ""
    return found, [f"{len(left)} lines of {labels} name no image: {', '.join(left[:3])}{more}"] if left else []


def _plain(path: str) -> str:
    """Return a path as all write it: with slashes, and without parts that change nothing."""
    return posixpath.normpath(path.replace("\\", "/"))


Line = tuple[int, str, str]
"""The number of a line, the file that it names, its class."""


def listed(path: Path, lines: Iterable[Line], known: Classes | None) -> list[tuple[Path, int]]:
    """Return the image files that a table names by their paths, from its own folder on, with their classes, in its order.

    `known` are the classes whose names may stand in the table.
    Raises BadInput for a file that is not there, and as `classes` does.
    """
    found = [(path.parent / name, label) for name, label in _checked(path, lines, known).items()]
    if lacking := next((file for file, _ in found if not os.path.isfile(file)), None):
        raise BadInput(
            f"{path} names {str(lacking)[:200]}, which is no file: correct the path; it begins in the folder of the table"
        )
    if not found:
        raise BadInput(f"{path} names no image: expected lines of file, class")
    return found


def _checked(path: Path, lines: Iterable[Line], known: Classes | None) -> dict[str, int]:
    """Return {file: class} of the lines of a table. Raises BadInput for one without a class, or a file with two classes."""
    found: dict[str, tuple[int, int]] = {}
    for line, file, word in lines:
        label = number(word, known, f"{path}, line {line}")
        before, first = found.setdefault(_plain(file), (label, line))
        if before != label:
            raise BadInput(f"{path}: {file} has the class {before} in line {first} and {label} in line {line}: keep one")
    return {file: label for file, (label, _) in found.items()}


def number(word: str, known: Classes | None, where: str) -> int:
    """Return the label that a word of a table stands for: a number itself, or the name of one of the `known` classes.

    Where classes have numbers as names, a number is a name. Raises BadInput, which says `where` the word stands.
    """
    if re.fullmatch("[0-9]{1,9}", word) and not (known and known.are_numbers):
        return int(word)
    if known:
        return known.label(word, where)
    raise BadInput(
        f"{where}: {word!r} is no class number: expected 0, 1, 2 and so on, or name the classes by --classes of pack or "
        "data.classes"
    )


def rows(path: Path) -> Iterator[Line]:
    """Yield the lines of a CSV file, without its heading. Raises BadInput."""
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}: expected lines of file, class") from None
    at, of = 0, 1
    if lines and (heading := [cell.lower() for cell in lines[0][1]]) and CLASS & set(heading):
        of = next(i for i, cell in enumerate(heading) if cell in CLASS)
        at = next((i for i, cell in enumerate(heading) if cell in FILE and i != of), 0 if of else 1)
        del lines[0]
    for line, row in lines:
        if len(row) <= max(at, of) or not row[at]:
            raise BadInput(f"{path}, line {line}: {','.join(row)[:60]!r} is no line of file, class")
        yield line, row[at], row[of]


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"{path} is no file: expected a CSV of file name, class (--labels of pack may be `folder` or `name`)")
    try:
        data = path.read_bytes()
        coded = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = data.decode(coded)
        if "\0" in text:  # UTF-16 without its mark, or UTF-32
            raise UnicodeDecodeError(coded, data, data.index(0), data.index(0) + 1, "no text")
        return text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}, line {line}, is not UTF-8: save the file as CSV in UTF-8") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
