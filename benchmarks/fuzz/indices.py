"""Change what lists images: index.json, CSV, classes, Parquet, NumPy, folders; compare with plain readers of these."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.changes import mutated, revalued
from benchmarks.fuzz.kind import OTHER, SAME, Kind, Unsound, twice
from benchmarks.fuzz.sources import IMAGES, outcome, parquet_options, pictures, samples_of
from benchmarks.fuzz.tables import changed_table, labels_csv, table_source
from benchmarks.fuzz.trees import folder_source
from pipeline.data import index
from pipeline.data.index import INDEX
from pipeline.data.pack import classes, pack
from pipeline.data.pack.classes import CLASSES
from pipeline.data.samples import Sample


class Indices(Kind):
    """Read mutated files that list images, each kind in turn by chance."""

    def attempt(self, chance: Random) -> str:
        """Read one mutant; see `Kind.attempt`."""
        folder = self.folder / "one"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return chance.choice(WAYS)(folder, chance)


def _rewritten(path: Path, chance: Random) -> None:
    """Change a file of JSON: its bytes, or its values."""
    if chance.random() < 0.5:
        path.write_bytes(mutated(path.read_bytes(), chance))
    else:
        path.write_text(json.dumps(revalued(json.loads(path.read_text()), chance)))


def index_json(folder: Path, chance: Random) -> str:
    """Change index.json beside two shards: the samples are the same, or it is refused."""
    paths = pictures(folder / "images")
    pack([(path, place % 3) for place, path in enumerate(paths[:5])], folder / "packed", "x", per_shard=3)
    urls = sorted(map(str, (folder / "packed").glob("*.tar")))
    sound = samples_of(urls)
    _rewritten(folder / "packed" / INDEX, chance)
    for cached in (index._content, index._checked):
        cached.cache_clear()
    found = twice(lambda: samples_of(urls))
    if found != sound:
        raise Unsound(f"an index changed the samples to {found!r:.500}")
    return SAME


def classes_text(folder: Path, chance: Random) -> str:
    """Change the file of `--classes`."""
    path = folder / "classes.txt"
    sound = chance.choice((b"cat\ndog\nn01440764 tench\n", b"n01440764\nn01443537\n", "猫\n犬\n".encode()))
    path.write_bytes(sound)
    before = classes.of_file(str(path))
    path.write_bytes(data := changed_table(sound, chance))
    found = twice(lambda: classes.of_file(str(path)))
    assert isinstance(found, classes.Classes)
    lines = [line.strip() for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    if len(lines) != len(found.every) or not all(each.name in line for each, line in zip(found.every, lines, strict=True)):
        raise Unsound(f"the lines {lines} became {found}")
    return SAME if found == before else OTHER


def classes_json(folder: Path, chance: Random) -> str:
    """Change the names of classes beside shards."""
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


def parquet_source(folder: Path, chance: Random) -> str:
    """Change a Parquet file in the layout of Hugging Face."""
    path, images = folder / "x.parquet", IMAGES[: chance.randint(1, 6)]
    held = [{"bytes": data, "path": f"{place}.png"} for place, data in enumerate(images)]
    column = pa.array(held if chance.random() < 0.6 else images)
    pq.write_table(pa.table({"image": column, "label": [i % 5 for i in range(len(images))]}), path, **parquet_options(chance))
    sound = samples_of([str(path)])
    data = mutated(path.read_bytes(), chance)
    path.write_bytes(data)
    found = twice(lambda: samples_of([str(path)]))
    assert isinstance(found, list)
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    truth = [(row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"], row["label"]) for row in rows]
    if [(s.image, s.label) for s in found if s.status == "ok"] != [
        (image, label) for (image, label), s in zip(truth, found, strict=True) if s.status == "ok"
    ]:
        raise Unsound(f"pyarrow reads {truth!r:.300}, barrage {found!r:.300}")
    return outcome(found, sound)


def numpy_source(folder: Path, chance: Random) -> str:
    """Change a .npz file, or a .npy file or the labels beside it."""
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
    sound = samples_of([str(path)])
    changed.write_bytes(mutated(changed.read_bytes(), chance))
    found = twice(lambda: samples_of([str(path)]))
    assert isinstance(found, list)
    _check_arrays(found, path)
    return outcome(found, sound)


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


WAYS: tuple[Callable[[Path, Random], str], ...] = (
    index_json, labels_csv, table_source, classes_text, classes_json, parquet_source, numpy_source, folder_source,
)  # fmt: skip
