"""Read images where they lie: a folder as torchvision's ImageFolder has it, or a table of paths and labels.

They are cut into shards of PER_SHARD images, which exist only by name: PLACE/images-000000.folder or .table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pipeline.data.pack import tables
from pipeline.data.pack.classes import Classes
from pipeline.data.pack.labels import Labelled, labelled, within
from pipeline.data.pack.writing import Keyed, keyed, members
from pipeline.data.sources import parquet
from pipeline.data.sources.generated import Generated

PER_SHARD = 1000
"""Images of one shard, as of `barrage pack`."""


def folder(place: str, classes: Classes | None) -> Labelled:
    """Return the images below a folder: its folders are the classes. Raises BadInput."""
    return labelled(Path(place), "folder", classes=classes)


def table(place: str, classes: Classes | None) -> Labelled:
    """Return the images that a CSV or Parquet file names by paths below its own folder. Raises BadInput."""
    path = Path(place)
    lines = parquet.lines(path) if path.suffix == ".parquet" else tables.rows(path)
    return within(Labelled(tables.listed(path, lines, classes), classes))


LISTS: dict[str, Callable[[str, Classes | None], Labelled]] = {".folder": folder, ".table": table}
"""How the images of a place are listed, by the ending of its shards."""


@lru_cache(maxsize=4)
def _listed(place: str, ending: str, classes: Classes | None) -> tuple[Labelled, Sequence[Keyed]]:
    """Return the images of a place, and with their keys; listed once in each process."""
    found = LISTS[ending](place, classes)
    return found, keyed(found.images)


def shards(place: str, ending: str, classes: Classes | None) -> tuple[list[str], Labelled]:
    """Return the paths of the shards of a folder or table, and its images as they are now. Raises BadInput."""
    _listed.cache_clear()
    path = str(Path(place).resolve())
    found, images = _listed(path, ending, classes)
    return [f"{path}/images-{number:06d}{ending}" for number in range(-(-len(images) // PER_SHARD))], found


def classes_of(url: str, classes: Classes | None) -> Classes | None:
    """Return the classes of a shard's place: those that are given, else its folders; None for a table. Raises BadInput."""
    found, _ = _listed(str(Path(url).parent), Path(url).suffix, classes)
    return found.classes


def size(url: str, classes: Classes | None) -> int:
    """Return the bytes of all images of a shard. Raises BadInput."""
    return sum(file.stat().st_size for _, file, _ in _images(url, classes))


@contextmanager
def opened(url: str, size: int, classes: Classes | None) -> Iterator[Generated]:
    """Open a shard as the tar that `barrage pack` would write. Raises BadInput, also while it is read."""
    yield Generated(members(_images(url, classes)))


def _images(url: str, classes: Classes | None) -> Sequence[Keyed]:
    """Return the images of a shard."""
    path = Path(url)
    number = int(path.stem.rpartition("-")[2])
    _, images = _listed(str(path.parent), path.suffix, classes)
    return images[number * PER_SHARD : (number + 1) * PER_SHARD]
