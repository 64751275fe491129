"""Pack labelled image files into WebDataset shards, with an index of counts and hashes to check them by."""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.shards import INDEX
from pipeline.data.tars.writing import packed
from pipeline.errors import BadInput
from pipeline.storage import urls

ENDINGS = (".jpg", ".jpeg", ".png")

Labelled = tuple[Path, int]
"""An image file and its class."""


def photographs() -> Path:
    """Return the folder of foolbox with 20 labelled ImageNet photographs (imagenet_00_243.jpg: class 243). Raises BadInput."""
    try:
        import foolbox
    except ImportError:
        raise BadInput("the demo's photographs come with foolbox: pip install 'barrage[demo]'") from None
    return Path(foolbox.__file__).parent / "data"


def labelled(source: Path, labels: str, pattern: str = "**/*") -> list[Labelled]:
    """Return the image files under a folder with their classes, sorted by path.

    labels  where classes come from. `folder`: folders sorted by name have the classes 0, 1, ... (as torchvision's
            ImageFolder); `name`: the number after the last underscore of the file name; else the path of a CSV file with
            lines of file name, class
    pattern glob pattern of the files to use
    Raises BadInput if an image has no class.
    """
    if not source.is_dir():
        raise BadInput(f"pack: {source} is not a folder: give the folder that holds the images")
    files = sorted(path for path in source.glob(pattern) if path.suffix.lower() in ENDINGS)
    if not files:
        raise BadInput(f"pack: {source} holds no file {pattern} that ends in {', '.join(ENDINGS)}")
    return list(zip(files, _classes(files, labels), strict=True))


def _classes(files: list[Path], labels: str) -> Iterator[int]:
    """Yield the class of each file. Raises BadInput."""
    if labels == "folder":
        classes = {folder: number for number, folder in enumerate(sorted({file.parent for file in files}))}
        yield from (classes[file.parent] for file in files)
    elif labels == "name":
        for file in files:
            match = re.search(r"_(\d+)$", file.stem)
            if not match:
                raise BadInput(f"pack: {file.name} does not end in _CLASS: use --labels folder or a CSV")
            yield int(match[1])
    else:
        table = _csv(Path(labels))
        for file in files:
            if file.name not in table:
                raise BadInput(f"pack: {labels} has no line for {file.name}: add `{file.name},CLASS`")
            yield table[file.name]


def _csv(path: Path) -> dict[str, int]:
    """Return {file name: class} of a CSV file. Lines without a class, such as a heading, are skipped."""
    if not path.is_file():
        raise BadInput(f"pack: labels {path}: expected `folder`, `name` or the path of a CSV of file name, class")
    with path.open(newline="") as file:
        return {row[0]: int(row[1]) for row in csv.reader(file) if len(row) >= 2 and row[1].strip().isdigit()}


def pack(images: list[Labelled], folder: str | Path, prefix: str = "images", per_shard: int = 1000) -> list[str]:
    """Write shards PREFIX-000000.tar, ... and their index; return their paths or URLs. The same files give the same bytes.

    folder  path or URL
    Raises BadInput for an unusable file name; StorageError if the folder or bucket cannot be written to.
    """
    stems = Counter(file.stem for file, _ in images)
    for file, _ in images:
        if "." in file.stem or stems[file.stem] > 1:
            raise BadInput(f"pack: the key {file.stem!r} of {file} is not unique or holds a dot: rename the file")
    target = urls.at(folder)
    target.ready()
    index, written = json.loads(target.read(INDEX) or b"{}"), []
    for number, first in enumerate(range(0, len(images), per_shard)):
        group = images[first : first + per_shard]
        name = f"{prefix}-{number:06d}.tar"
        data = packed(_members(group))
        target.replace(name, data)
        classes = [label for _, label in group]
        index[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "images": len(group),
            "labels": [min(classes), max(classes)],
        }
        written.append(urls.join(str(folder), name))
    target.replace(INDEX, json.dumps(index, indent=1).encode())
    target.sweep()
    return written


def _members(images: list[Labelled]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of images and labels, (name, content)."""
    for file, label in images:
        yield f"{file.stem}.{'png' if file.suffix.lower() == '.png' else 'jpg'}", file.read_bytes()
        yield f"{file.stem}.cls", str(label).encode()
