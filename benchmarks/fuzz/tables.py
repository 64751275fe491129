"""Change tables of files and classes, as `barrage pack --labels` and `data: {table: ...}` read them: CSV and Parquet."""

import csv
import io
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.changes import ODD, mutated, rearranged
from benchmarks.fuzz.kind import OTHER, SAME, Unsound, one_line, twice
from benchmarks.fuzz.sources import outcome, parquet_options, pictures, samples_of
from pipeline.data.pack import labelled
from pipeline.data.sources import files


def _table(paths: list[Path], chance: Random) -> bytes:
    """Return a sound CSV file of these files and their classes, in some dialect."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=chance.choice((",", ";", "\t")), lineterminator=chance.choice(("\n", "\r\n")))
    writer.writerows([("file", "class")] * chance.randint(0, 1))
    writer.writerows((path.name, place % 5) for place, path in enumerate(paths))
    return text.getvalue().encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def changed_table(data: bytes, chance: Random) -> bytes:
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
    """Change the CSV of `barrage pack --labels`."""
    paths = pictures(folder / "images")
    sound = data = _table(paths, chance)
    (folder / "labels.csv").write_bytes(sound)
    before = labelled(folder / "images", str(folder / "labels.csv")).images
    data = changed_table(sound, chance)
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
    """Change the CSV or the Parquet file of `data: {table: ...}`."""
    paths = pictures(folder / "t")
    if chance.random() < 0.3:
        place = folder / "t" / "table.parquet"
        columns = {"path": [path.name for path in paths], "label": [i % 5 for i in range(len(paths))]}
        pq.write_table(pa.table(columns), place, **parquet_options(chance))
        data = mutated(place.read_bytes(), chance)
    else:
        place = folder / "t" / "table.csv"
        place.write_bytes(_table(paths, chance))
        data = changed_table(place.read_bytes(), chance)
    sound = samples_of(files.shards(str(place), ".table", None)[0])
    place.write_bytes(data)
    found = twice(lambda: samples_of(files.shards(str(place), ".table", None)[0]))
    assert isinstance(found, list)
    if place.suffix == ".csv":
        images = {path.read_bytes(): path for path in paths}
        _check_table([(images[sample.image], sample.label) for sample in found if sample.status == "ok"], data)
    return outcome(found, sound)
