"""Write the tables of docs/images.md from what the code makes of each odd input: python -m tests.support.odd.page"""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from docs.tables import table
from pipeline.data import shards
from tests.support.odd.folders import FOLDERS, outcome
from tests.support.odd.pictures import PICTURES, SIDE
from tests.support.odd.shards import SHARDS
from tests.support.source.pages import ROOT

PAGE = ROOT / "docs" / "images.md"
_BLOCK = re.compile(r"(<!-- (\w+): written by python -m tests\.support\.odd\.page -->\n).*?(<!-- end -->)", re.S)


def pictures() -> str:
    """Return what becomes of each kind of image file."""
    rows = []
    for name, picture in PICTURES.items():
        try:
            shards.decode(picture.data, None, SIDE)
            rows.append((name, picture.said))
        except ValueError as error:
            rows.append((name, f"`bad_image`: {error}"))
    return table(("an image file", "becomes"), rows)


def tars() -> str:
    """Return what becomes of each kind of shard."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, odd in SHARDS.items():
            (Path(folder) / "x.tar").write_bytes(odd.data)
            shard = shards.inspect(Path(folder) / "x.tar")
            bad = [sample for sample in shards.read(shard, range(shard.images)) if sample.status != "ok"]
            rows.append((name, odd.said or f"`{bad[0].status}`: {bad[0].error}"))
    return table(("a shard with", "gives"), rows)


def folders() -> str:
    """Return what is said of each kind of folder."""

    def rows() -> Iterator[tuple[str, str]]:
        for name, odd in FOLDERS.items():
            with tempfile.TemporaryDirectory() as folder:
                yield name, outcome(odd, Path(folder))

    return table(("a folder or table with", "gives (file: class; notes)"), list(rows()))


BLOCKS: dict[str, Callable[[], str]] = {"pictures": pictures, "tars": tars, "folders": folders}


def filled(text: str) -> str:
    """Return the page with its tables as the code has them now."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
