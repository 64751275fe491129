"""Mutate what says which images there are: index.json, CSV, classes, Parquet, NumPy, folders; and compare with plain readers."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.changes import ODD, mutated, rearranged, revalued
from benchmarks.fuzz.kind import FAULTS, OTHER, SAME, Kind, Unsound, one_line, twice
from benchmarks.fuzz.shards import PICTURES
from pipeline.data import index, shards
from pipeline.data.index import INDEX
from pipeline.data.pack import classes, labelled, pack
from pipeline.data.pack.classes import CLASSES
from pipeline.data.samples import Sample
from pipeline.data.sources import files

IMAGES = [data + bytes([0] * number) for number in range(2) for _, data in PICTURES[:4]]
"""Images whose bytes are all different."""

NAMES = ("a", "b 1", "c.2", "d_3", "图", "A", "e,f", "g;h")
"""Names of sound files, without ending."""


class Indices(Kind):
    """Read mutated files that list images, each kind in turn by chance."""

    def attempt(self, chance: Random) -> str:
        """Read one mutant; see `Kind.attempt`."""
        folder = self.folder / "one"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return chance.choice(WAYS)(folder, chance)


def _samples(urls: list[str]) -> list[Sample]:
    """Return all samples of some shards."""
    found = [shards.inspect(url) for url in urls]
    return [sample for shard in found for sample in shards.read(shard, range(shard.images))]


def _outcome(found: list[Sample], sound: list[Sample]) -> str:
    """Return what became of a mutant, given its samples."""
    for sample in found:
        if sample.error:
            one_line(sample.error)
        one_line(sample.key)
    if any(sample.status != "ok" for sample in found):
        return FAULTS
    return SAME if found == sound else OTHER


def _rewritten(path: Path, chance: Random) -> None:
    """Mutate a file of JSON: its bytes, or its values."""
    if chance.random() < 0.5:
        path.write_bytes(mutated(path.read_bytes(), chance))
    else:
        path.write_text(json.dumps(revalued(json.loads(path.read_text()), chance)))


def index_json(folder: Path, chance: Random) -> str:
    """Mutate index.json beside two shards: the samples are the same, or it is refused."""
    paths = _pictures(folder / "images")
    pack([(path, place % 3) for place, path in enumerate(paths[:5])], folder / "packed", "x", per_shard=3)
    urls = sorted(map(str, (folder / "packed").glob("*.tar")))
    sound = _samples(urls)
    _rewritten(folder / "packed" / INDEX, chance)
    index._read.cache_clear()
    found = twice(lambda: _samples(urls))
    if found != sound:
        raise Unsound(f"an index changed the samples to {found!r:.500}")
    return SAME


def _pictures(folder: Path) -> list[Path]:
    """Write images into a folder and return their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{name}.{('jpg', 'png', 'PPM')[place % 3]}" for place, name in enumerate(NAMES)]
    for path, image in zip(paths, IMAGES, strict=True):
        path.write_bytes(image)
    return paths


def _table(paths: list[Path], chance: Random) -> bytes:
    """Return a sound CSV file of these files and their classes, in some dialect."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=chance.choice((",", ";", "\t")), lineterminator=chance.choice(("\n", "\r\n")))
    writer.writerows([("file", "class")] * chance.randint(0, 1))
    writer.writerows((path.name, place % 5) for place, path in enumerate(paths))
    return text.getvalue().encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def _changed_table(data: bytes, chance: Random) -> bytes:
    """Return a CSV file with changed bytes or lines."""
    if chance.random() < 0.5:
        return mutated(data, chance)
    lines = rearranged(data.split(b"\n"), chance, lambda line: mutated(line, chance) if line else line, ODD)
    return b"\n".join(lines)


def _check_table(found: list[tuple[Path, int]], data: bytes) -> None:
    """Raise Unsound unless some line of the CSV gives each file its class."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    lines = [{cell.strip().strip('"') for cell in line.split(mark)} for line in text.splitlines() for mark in ",;\t"]
    whole = text.replace('"', "")
    for path, label in found:
        names = {path.name, path.stem}
        if not any(cells & names and any(c.isdecimal() and int(c) == label for c in cells) for cells in lines) and not (
            path.stem in whole and '"' in text  # a name with a mark in quotes
        ):
            raise Unsound(f"{path.name} got the class {label}, which no line gives it: {text!r:.500}")


def labels_csv(folder: Path, chance: Random) -> str:
    """Mutate the CSV of `barrage pack --labels`."""
    paths = _pictures(folder / "images")
    sound = data = _table(paths, chance)
    (folder / "labels.csv").write_bytes(sound)
    before = labelled(folder / "images", str(folder / "labels.csv")).images
    data = _changed_table(sound, chance)
    (folder / "labels.csv").write_bytes(data)
    found = twice(lambda: _labels(folder))
    assert isinstance(found, list)
    _check_table(found, data)
    return SAME if found == before else OTHER


def _labels(folder: Path) -> list[tuple[Path, int]]:
    found = labelled(folder / "images", str(folder / "labels.csv"))
    for note in found.notes:
        one_line(note)
    return found.images


def table_source(folder: Path, chance: Random) -> str:
    """Mutate the CSV or the Parquet file of `data: {table: ...}`."""
    paths = _pictures(folder / "t")
    if chance.random() < 0.3:
        place = folder / "t" / "table.parquet"
        columns = {"path": [path.name for path in paths], "label": [i % 5 for i in range(len(paths))]}
        pq.write_table(pa.table(columns), place, **_options(chance))
        data = mutated(place.read_bytes(), chance)
    else:
        place = folder / "t" / "table.csv"
        place.write_bytes(_table(paths, chance))
        data = _changed_table(place.read_bytes(), chance)
    sound = _samples(files.shards(str(place), ".table")[0])
    place.write_bytes(data)
    found = twice(lambda: _samples(files.shards(str(place), ".table")[0]))
    assert isinstance(found, list)
    if place.suffix == ".csv":
        images = {path.read_bytes(): path for path in paths}
        _check_table([(images[sample.image], sample.label) for sample in found if sample.status == "ok"], data)
    return _outcome(found, sound)


def classes_text(folder: Path, chance: Random) -> str:
    """Mutate the file of `--classes`."""
    path = folder / "classes.txt"
    sound = chance.choice((b"cat\ndog\nn01440764 tench\n", b"n01440764\nn01443537\n", "猫\n犬\n".encode()))
    path.write_bytes(sound)
    before = classes.of_file(str(path))
    path.write_bytes(data := _changed_table(sound, chance))
    found = twice(lambda: classes.of_file(str(path)))
    assert isinstance(found, classes.Classes)
    lines = [line.strip() for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    if len(lines) != len(found.every) or not all(each.name in line for each, line in zip(found.every, lines, strict=True)):
        raise Unsound(f"the lines {lines} became {found}")
    return SAME if found == before else OTHER


def classes_json(folder: Path, chance: Random) -> str:
    """Mutate the names of classes beside shards."""
    classes.store(str(folder), classes.Classes.of_folders(["cat", "dog", "ant"]))
    before = classes.stored(str(folder))
    _rewritten(folder / CLASSES, chance)
    found = twice(lambda: classes.stored(str(folder)))
    if found is None:
        raise Unsound("the names of the classes are gone")
    assert isinstance(found, classes.Classes)
    truth = json.loads((folder / CLASSES).read_bytes())
    if [each["name"] for each in truth] != found.names:
        raise Unsound(f"{truth} became {found}")
    return SAME if found == before else OTHER


def _options(chance: Random) -> dict[str, object]:
    """Return options of writing Parquet."""
    return {
        "compression": chance.choice(("none", "snappy", "zstd", "gzip")), "use_dictionary": chance.random() < 0.5,
        "data_page_version": chance.choice(("1.0", "2.0")), "write_page_checksum": chance.random() < 0.5,
        "row_group_size": chance.choice((2, 100)), "write_statistics": chance.random() < 0.5,
    }  # fmt: skip


def parquet_source(folder: Path, chance: Random) -> str:
    """Mutate a Parquet file in the layout of Hugging Face."""
    path, images = folder / "x.parquet", IMAGES[: chance.randint(1, 6)]
    held = [{"bytes": data, "path": f"{place}.png"} for place, data in enumerate(images)]
    column = pa.array(held if chance.random() < 0.6 else images)
    pq.write_table(pa.table({"image": column, "label": [i % 5 for i in range(len(images))]}), path, **_options(chance))
    sound = _samples([str(path)])
    data = mutated(path.read_bytes(), chance)
    path.write_bytes(data)
    found = twice(lambda: _samples([str(path)]))
    assert isinstance(found, list)
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    truth = [(row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"], row["label"]) for row in rows]
    if [(s.image, s.label) for s in found if s.status == "ok"] != [
        (image, label) for (image, label), s in zip(truth, found, strict=True) if s.status == "ok"
    ]:
        raise Unsound(f"pyarrow reads {truth!r:.300}, barrage {found!r:.300}")
    return _outcome(found, sound)


def numpy_source(folder: Path, chance: Random) -> str:
    """Mutate a .npz file, or a .npy file or the labels beside it."""
    count = chance.randint(1, 4)
    shape = chance.choice(((count, 8, 8, 3), (count, 3, 8, 8), (count, 8, 8)))
    images = np.random.default_rng(chance.randrange(99)).integers(0, 256, shape, dtype=np.uint8)
    labels = (
        (np.arange(count) % 5).astype(chance.choice(("i8", "u1", ">i4", "i2"))).reshape(chance.choice(((count,), (count, 1))))
    )
    if chance.random() < 0.5:
        path = changed = folder / "x.npz"
        (np.savez if chance.random() < 0.5 else np.savez_compressed)(path, x=images, y=labels)
    else:
        path, beside = folder / "x.npy", folder / "x_labels.npy"
        np.save(path, images)
        np.save(beside, labels)
        changed = chance.choice((path, beside))
    sound = _samples([str(path)])
    changed.write_bytes(mutated(changed.read_bytes(), chance))
    found = twice(lambda: _samples([str(path)]))
    assert isinstance(found, list)
    _check_arrays(found, path)
    return _outcome(found, sound)


def _check_arrays(found: list[Sample], path: Path) -> None:
    """Raise Unsound unless NumPy itself reads the same images and labels."""
    if path.suffix == ".npz":
        with np.load(path) as held:
            arrays = [held[name] for name in held.files]
    else:
        arrays = [np.load(path), np.load(path.with_name("x_labels.npy"))]
    labels, images = sorted((np.asarray(array) for array in arrays), key=np.ndim)[-2:]
    for sample, image, label in zip(found, images, labels.reshape(-1), strict=True):
        if sample.status == "ok" and sample.label != label:
            raise Unsound(f"NumPy reads the label {label}, barrage {sample.label}")
        if image.ndim == 3:
            image = image if image.shape[-1] == 3 else image.transpose(1, 2, 0)
        if sample.status == "ok" and not sample.image.endswith(
            b" 255\n" + (image if image.ndim == 3 else np.repeat(image, 3)).tobytes()
        ):
            raise Unsound(f"the image {sample.key} is another than NumPy reads")


def folder_source(folder: Path, chance: Random) -> str:
    """Change the tree of `data: {folder: ...}`: names, folders, links, bytes."""
    place = folder / "f"
    names = chance.choice((("cat", "dog", "ant"), ("0", "2", "10"), ("n01440764", "n01443537", "n01484850")))
    for number, name in enumerate(names):
        (place / name).mkdir(parents=True)
        for at in range(2):
            (place / name / f"{NAMES[2 * number + at]}.png").write_bytes(IMAGES[2 * number + at])
    sound = _samples(files.shards(str(place), ".folder")[0])
    for _ in range(chance.randint(1, 3)):
        _disturbed(place, chance)
    found = twice(lambda: _samples(files.shards(str(place), ".folder")[0]))
    assert isinstance(found, list)
    there = sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))
    there = sorted(there, key=int) if all(name.isdecimal() and name.isascii() for name in there) else there
    for sample in found:
        if sample.status == "ok" and sample.image not in _below(place / there[sample.label]):
            raise Unsound(f"{sample.key} has the class {sample.label}, which is the folder {there[sample.label]!r}")
    return _outcome(found, sound)


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
    b".hidden", b"x" * 240 + b".png", "图".encode() * 80 + b".png", b"\xff.png", b"a\x1b[31m.png", b"a\nb.png", b"a.b.c.png", b"a.gif", b"a.PNG",
    b".ipynb_checkpoints", b"x.jpg", b"-rf.png", b" .png", b"a'\".png", "\u202egnp.png".encode(), b"__x__", b"__MACOSX", b"Thumbs.db", b"$(x).png",
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
    if os.path.lexists(new):
        return
    match chance.choice(("bytes", "rename", "file", "folder", "link", "up", "broken", "remove", "deep")):
        case "bytes" if path.is_file():
            path.write_bytes(mutated(path.read_bytes(), chance) if chance.random() < 0.8 else b"")
        case "rename":
            path.rename(new) if not new.is_relative_to(path) else None
        case "file":
            new.write_bytes(chance.choice(IMAGES))
        case "folder":
            new.mkdir()
        case "link":
            new.symlink_to(path, path.is_dir())
        case "up":
            new.symlink_to(place, True)
        case "broken":
            new.symlink_to("gone")
        case "remove" if path.is_file():
            path.unlink()
        case "deep":
            (new / "in" / "in").mkdir(parents=True)
            (new / "in" / "in" / "q.png").write_bytes(chance.choice(IMAGES))


WAYS: tuple[Callable[[Path, Random], str], ...] = (
    index_json, labels_csv, table_source, classes_text, classes_json, parquet_source, numpy_source, folder_source,
)  # fmt: skip
