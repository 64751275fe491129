"""Read images from Parquet as Hugging Face lays them out: a column `image` of {bytes, path} or bytes, a column `label`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.pack.classes import Class, Classes
from pipeline.data.pack.tables import CLASS, FILE, Line, number
from pipeline.data.sources.generated import Generated
from pipeline.errors import BadInput, steady
from pipeline.storage import urls

IMAGE, LABEL = ("image", "img"), ("label", "labels", "fine_label")
"""Names of the columns of images and of labels; the first that a file has counts."""

ROWS = 16
"""Rows that are in memory at a time."""

_BYTES, _WORDS = (("null", kind, f"large_{kind}", f"{kind}_view") for kind in ("binary", "string"))
"""Names of the types of bytes and of texts in Arrow."""

_DAMAGED = pa.ArrowException, ValueError
"""What reading a damaged file raises, besides OSError."""


@contextmanager
def opened(url: str, size: int, known: Classes | None) -> Iterator[Generated]:
    """Open a file as the tar that `barrage pack` would write of its rows. Raises BadInput, also while it is read."""
    folder, name = urls.split(url)
    with urls.at(folder).open(name, size) as file:
        yield Generated(_files(file, url, known))


def classes(url: str, known: Classes | None) -> Classes | None:
    """Return the classes that Hugging Face's `datasets` kept in a file, by label; None without. Raises BadInput.

    They stand in the metadata of the schema as the feature `ClassLabel` of the column of labels.
    """
    folder, name = urls.split(url)
    with urls.at(folder).open(name) as file, _refused(url):
        schema = pq.read_schema(file)
        label = _column(schema, LABEL, url)
        try:
            features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
            names = [str(name) for name in features[label]["names"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            return None
        return Classes(tuple(Class(name=name) for name in names)) if names else None


def _files(file: BinaryIO, url: str, known: Classes | None) -> Iterator[tuple[str, bytes]]:
    """Yield an image and a label for each row, (name, content); without a label where it is null."""
    with _refused(url):
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        image, label = (_column(parquet.schema_arrow, names, url) for names in (IMAGE, LABEL))
        _check_types(parquet.schema_arrow, image, label, url)
        keys = _keys(parquet, image)
        rows = (row for batch in parquet.iter_batches(ROWS, columns=[image, label]) for row in batch.to_pylist())
        for key, row in zip(keys, rows, strict=True):
            held = row[image]["bytes"] if isinstance(row[image], dict) else row[image]
            yield f"{key}.jpg", held or b""  # of whatever kind: what it is is seen when it is decoded
            if (word := row[label]) is not None:
                yield f"{key}.cls", str(number(word, known, f"{url}, {key}") if isinstance(word, str) else word).encode()


@contextmanager
def _refused(url: str) -> Iterator[None]:
    """Raise BadInput where reading a file raises an error of the file itself; one of a disk or service is raised as it is."""
    try:
        yield
    except BadInput:  # which is a ValueError
        raise
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own have no number
            raise
        raise BadInput(f"{url} is no whole Parquet file of images ({steady(error)}): restore it") from None


def lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a Parquet file with a column of paths of images and one of classes. Raises BadInput."""
    try:
        schema = pq.read_schema(path)
        file, label = (_column(schema, sorted(names), str(path)) for names in (FILE, CLASS))
        found = pq.read_table(path, columns=[file, label])
        for number, (name, word) in enumerate(zip(found[file].to_pylist(), found[label].to_pylist(), strict=True), 1):
            yield number, str(name), str(word)
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist: expected a table of paths and labels") from None
    except (*_DAMAGED, OSError) as error:
        raise BadInput(f"{path} is no whole Parquet file of paths and labels ({steady(error)}): restore it") from None


def _column(schema: pa.Schema, names: Sequence[str], url: str) -> str:
    """Return the first of these columns that a file has. Raises BadInput."""
    for name in names:
        if name in schema.names:
            return name
    raise BadInput(f"{url} has no column {' or '.join(names)}: it has {', '.join(schema.names)[:200]}")


def _check_types(schema: pa.Schema, image: str, label: str, url: str) -> None:
    """Raise BadInput if the columns of images and of labels hold something else."""
    held, kind = schema.field(image).type, _plain(schema.field(label).type)
    if pa.types.is_struct(held):
        held = held.field("bytes").type if held.get_field_index("bytes") >= 0 else held
    if str(_plain(held)) not in _BYTES:
        raise BadInput(f"{url}: the column {image} is {str(held)[:60]}: expected the bytes of image files, or {{bytes, path}}")
    if not (pa.types.is_integer(kind) or str(kind) in _WORDS):
        raise BadInput(f"{url}: the column {label} is {str(kind)[:60]}: expected whole numbers, or names of classes")


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a column, which may be a dictionary of them."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _keys(parquet: pq.ParquetFile, image: str) -> list[str]:
    """Return the keys of the rows: the names in `path` without ending, if all have one of their own; else their numbers."""
    count = parquet.metadata.num_rows
    kind = parquet.schema_arrow.field(image).type
    paths: list[Any] = []
    if pa.types.is_struct(kind) and "path" in {kind.field(i).name for i in range(kind.num_fields)}:
        paths = [row["path"] for row in parquet.read([f"{image}.path"])[image].to_pylist() if row and row["path"]]
    names = [PurePosixPath(path).stem.replace(".", "_") for path in paths]
    return names if len(set(filter(None, names))) == count else [f"{number:06d}" for number in range(count)]
