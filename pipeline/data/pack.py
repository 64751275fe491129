"""Labelled image files into WebDataset shards with an index: counts and hashes that a campaign can hold them to."""

import csv
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.shards import INDEX
from pipeline.errors import BadInput
from pipeline.storage import urls

ENDINGS = (".jpg", ".jpeg", ".png")

Labelled = tuple[Path, int]


def photographs() -> Path:
    """The folder of the foolbox wheel with 20 labelled ImageNet photographs (imagenet_00_243.jpg: class 243)."""
    try:
        import foolbox
    except ImportError:
        raise BadInput("the demo's photographs come with foolbox: pip install 'barrage[demo]'") from None
    return Path(foolbox.__file__).parent / "data"


def labelled(source: Path, labels: str, pattern: str = "**/*") -> list[Labelled]:
    """The image files under a folder with their classes, sorted by path. Raises BadInput.

    labels  `folder`: the place of the image's folder among all, sorted by name (as torchvision's ImageFolder);
            `name`: the number after the last underscore of the file name; or the path of a CSV of file name, class
    """
    if not source.is_dir():
        raise BadInput(f"pack: {source} is no folder: give the folder that holds the images")
    files = sorted(path for path in source.glob(pattern) if path.suffix.lower() in ENDINGS)
    if not files:
        raise BadInput(f"pack: {source} holds no file {pattern} that ends in {', '.join(ENDINGS)}")
    return list(zip(files, _classes(files, labels), strict=True))


def _classes(files: list[Path], labels: str) -> Iterator[int]:
    if labels == "folder":
        places = {folder: place for place, folder in enumerate(sorted({file.parent for file in files}))}
        yield from (places[file.parent] for file in files)
    elif labels == "name":
        for file in files:
            found = re.search(r"_(\d+)$", file.stem)
            if not found:
                raise BadInput(f"pack: {file.name} does not end in _CLASS: use --labels folder or a CSV")
            yield int(found[1])
    else:
        table = _csv(Path(labels))
        for file in files:
            if file.name not in table:
                raise BadInput(f"pack: {labels} has no line for {file.name}: add `{file.name},CLASS`")
            yield table[file.name]


def _csv(path: Path) -> dict[str, int]:
    if not path.is_file():
        raise BadInput(f"pack: labels {path}: expected `folder`, `name` or the path of a CSV of file name, class")
    with path.open(newline="") as file:
        return {row[0]: int(row[1]) for row in csv.reader(file) if len(row) >= 2 and row[1].strip().isdigit()}


def pack(images: list[Labelled], folder: str | Path, prefix: str = "images", per_shard: int = 1000) -> list[str]:
    """Writes PREFIX-000000.tar, ... and the index; the same files give the same bytes. Returns the paths or URLs of the shards.

    Raises BadInput, and StorageError if the folder or bucket can not be written to.
    """
    stems = Counter(file.stem for file, _ in images)
    for file, _ in images:
        if "." in file.stem or stems[file.stem] > 1:
            raise BadInput(f"pack: the key {file.stem!r} of {file} is not unique or holds a dot: rename the file")
    target = urls.at(folder)
    target.ready()
    index, written = json.loads(target.read(INDEX) or b"{}"), []
    for number, first in enumerate(range(0, len(images), per_shard)):
        some = images[first : first + per_shard]
        name = f"{prefix}-{number:06d}.tar"
        data = _tar(some)
        target.replace(name, data)
        classes = [label for _, label in some]
        index[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "images": len(some),
            "labels": [min(classes), max(classes)],
        }
        written.append(urls.join(str(folder), name))
    target.replace(INDEX, json.dumps(index, indent=1).encode())
    target.sweep()
    return written


def _tar(images: list[Labelled]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file, label in images:
            ending = "png" if file.suffix.lower() == ".png" else "jpg"
            for suffix, data in ((ending, file.read_bytes()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{file.stem}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
