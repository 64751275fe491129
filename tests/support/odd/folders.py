"""Folders of images as people bring them to `barrage pack`, each with its options and the line that answers it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipeline.cli.files.pack import Sort
from pipeline.data.pack import labelled, pack
from pipeline.data.pack.classes import of_file
from pipeline.errors import BadInput
from tests.support import tiny


class Folder(NamedTuple):
    """Names of images in the folder, what else is there, and how it is packed."""

    names: tuple[str, ...]
    more: Callable[[Path], object] = lambda root: None
    labels: str = "folder"
    classes: str | None = None


def outcome(odd: Folder, root: Path) -> str:
    """Pack a folder and return what is said of it: the notes and the classes, or the one line of the refusal."""
    source = root / "photos"
    source.mkdir()
    for name in odd.names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(tiny.picture(0))
    odd.more(root)
    labels = odd.labels if odd.labels in ("folder", "name") else str(root / odd.labels)
    known = of_file(odd.classes if odd.classes == "imagenet" else str(root / odd.classes)) if odd.classes else None
    try:
        found = labelled(source, labels, "*", known, Sort.AUTO.value)
        pack(found.images, root / "shards", classes=found.classes)
    except BadInput as error:
        return f"refused: {error}".replace(f"{root}/", "")
    given = ", ".join(f"{file.relative_to(source)}: {label}" for file, label in found.images)
    return "; ".join([given, *found.notes]).replace(f"{root}/", "")


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Return what writes a file beside the folder."""
    return lambda root: (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


FOLDERS = {
    "folders 0, 2 and 10": Folder(("0/a.png", "2/b.png", "10/c.png")),
    "folders of WordNet ids": Folder(("n01443537/a.png", "n15075141/b.png")),
    "folders of WordNet ids, with `--classes imagenet`": Folder(("n01443537/a.png", "n15075141/b.png"), classes="imagenet"),
    "`.ipynb_checkpoints`, and an image beside the folders": Folder((".ipynb_checkpoints/x.png", "cat/a.png", "stray.png")),
    "folders inside the folder of a class": Folder(("cat/in/a.png", "dog/b.png")),
    "a class whose images are GIF": Folder(("cat/a.png", "dog/b.gif")),
    "WebP, AVIF, and a text file": Folder(("cat/a.webp", "cat/b.avif", "cat/notes.txt")),
    "a broken link, and a folder called x.jpg": Folder(
        ("cat/a.png", "cat/x.jpg/b.png"), lambda root: (root / "photos/cat/gone.png").symlink_to("nowhere")
    ),
    "a name with a control character": Folder(("cat/a\x1b.png",)),
    "a name that is not UTF-8": Folder(
        ("cat/a.png",), lambda root: os.rename(root / "photos/cat/a.png", os.fsencode(root) + b"/photos/cat/\xff.png")
    ),
    "the same name in two folders": Folder(("cat/1.png", "dog/1.png")),
    "a folder that the file of classes lacks": Folder(("cta/1.png",), text("names.txt", "dog\ncat\n"), classes="names.txt"),
    "a CSV with `;` and a byte order mark": Folder(("a.png",), text("labels.csv", "﻿file;class\na.png;3\n"), "labels.csv"),
    "a CSV in Latin-1": Folder(("a.png",), text("labels.csv", b"a.png,1\n\xe9.png,2\n"), "labels.csv"),
    "a CSV with two classes for a file": Folder(("a.png",), text("labels.csv", "a.png,1\na.png,2\n"), "labels.csv"),
    "a CSV of names, without `--classes`": Folder(("a.png",), text("labels.csv", "a.png,cat\n"), "labels.csv"),
    "a CSV that lacks a file": Folder(("a.png", "b.png"), text("labels.csv", "a.png,1\n"), "labels.csv"),
}
