"""Write the page of some stores as files, for any static host or a folder: rows as Parquet, answers as scripts, pictures.

    index.html, css/, scripts/, vendor/     the page
    data/NAME.js                            view.data("NAME", value), as classic scripts may be read from a folder too
    pictures/STORE/PICTURE-WHAT.png         of some images under every attack

pipeline/view/page/scripts/source/static.js says what each NAME holds.
"""

import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view import images, neighbours, overview
from pipeline.view.rows.columns import expression
from pipeline.view.server.app import head
from pipeline.view.watched import Watched

DRAWS = 6
"""Draws of an image with pictures, clean and attacked: those that the page shows first."""

PAIRS = 200
"""The most comparisons of two cells."""

CHUNK = 8
"""Images in one script."""

SHOWN = {"clean", "adversarial", "draws"}
"""What an image should have in an export, and a line that says why it has not."""

NO_DRAWS: dict[str, Any] = {"magnified": None, "clean": [], "adversarial": []}
"""What is written of the draws of an image that has none to show."""

RULE, TOP = "single", 1
"""The decision rule of the comparisons and errors that are written."""

Report = Callable[[str], None]


class Export:
    """Write an export into a new folder."""

    def __init__(self, folder: Path, urls: Sequence[str], report: Report) -> None:
        """Take a folder to write. Raises BadInput for one that is there and not empty."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(f"--export {folder} is there and not empty: give a new folder, or remove it first")
        self._folder, self._report = folder, report
        self._stores = [Watched(str(place), url, list(RULES.working())) for place, url in enumerate(urls)]
        self._paths = sorted({url.rstrip("/") for url in urls} - {""}, key=len, reverse=True)  # one may begin like another
        self._static: dict[str, Any] = {"rows": {}, "images": {}, "compare": [], "errors": []}

    def write(self, count: int) -> None:
        """Write everything, with pictures of `count` images a store. Raises BadInput for a store that cannot be read."""
        from pipeline.view.page import files

        for store in self._stores:
            store.refresh()
            if not store.content["rows"]:
                raise BadInput(store.content["problem"] or f"store {store.url} holds no rows yet: wait for a first unit")
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        for name, data in files(live=False).items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for store in self._stores:
            self._pictures(store, count if store.content["pictures"] else 0)
            self._rows(store)
            self._errors(store)
        self._comparisons()
        contents = [store.content for store in self._stores]
        self._data("stores", head(0, live=False) | {"stores": contents, "static": self._static})

    def _data(self, name: str, value: Any) -> None:
        text = json.dumps(self._public(overview.plain(value)), allow_nan=False)
        self._script(name, text)

    def _script(self, name: str, text: str) -> None:
        (self._folder / "data" / f"{name}.js").write_text(f'view.data("{name}", {text});\n')

    def _rows(self, store: Watched) -> None:
        """Write the rows of a store as one Parquet file, in the order of its database."""
        buffer = io.BytesIO()
        table = store.database.table("SELECT * EXCLUDE (place) FROM rows ORDER BY place")
        pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 17)
        name = f"rows-{store.id}"
        self._script(name, json.dumps(base64.b64encode(buffer.getvalue()).decode()))
        self._static["rows"][store.id] = name

    def _pictures(self, store: Watched, count: int) -> None:
        """Write the pictures of some images under every attack, number their rows, and write what each draw said."""
        shown = _chosen(store, count)
        number, chunks, found = -(-len(shown) // CHUNK), dict[int, dict[str, Any]](), list[Any]()
        for shard, key in shown:
            image = images.image(store, shard, key)
            found += [(row, (row["cell"], shard, key)) for row in image["rows"]]
            chunks.setdefault(chunk(f"{shard}/{key}", number), {})[f"{shard}/{key}"] = image
        for (row, _), written in zip(found, self._written(store, [names for _, names in found]), strict=True):
            row["picture"] = written.number if written.files else None
            for what in SHOWN & written.missing.keys():
                self._report(f"{row['image_key']} in {row['cell']}: no {what}: {written.missing[what]}")
            self._data(f"draws-{store.id}-{written.number}", written.draws or NO_DRAWS)
        for place in range(number):
            self._data(f"image-{store.id}-{place}", chunks.get(place, {}))
        self._static["images"][store.id] = number
        store.database.number([row for row, _ in found if row["picture"] is not None])

    def _written(self, store: Watched, names: Sequence[tuple[str, str, str]]) -> Iterator[Any]:
        """Write the pictures of images by their cell, shard and key, and yield what was written of each."""
        if names:
            from pipeline.view.pictures import Key

            keys = (Key(*name) for name in names)
            yield from neighbours.pictures(store).export(keys, self._folder / "pictures" / store.id, DRAWS)

    def _errors(self, store: Watched) -> None:
        for place, cell in enumerate(_cells(store)):
            name = f"errors-{store.id}-{place}"
            try:
                self._data(name, neighbours.errors(store, cell, RULE, TOP))
            except BadInput as error:
                self._report(f"no errors of {cell}: {error}")
                continue
            self._static["errors"].append([store.id, cell, RULE, TOP, name])

    def _comparisons(self) -> None:
        for place, (first, first_cell, second, second_cell) in enumerate(_pairs(self._stores)):
            if place == PAIRS:
                self._report(f"of the pairs of cells, the first {PAIRS} are compared: `barrage view` compares any two")
                return
            name = f"compare-{place}"
            self._data(name, neighbours.compared(first, first_cell, second, second_cell, RULE, TOP))
            self._static["compare"].append([first.id, first_cell, second.id, second_cell, RULE, TOP, name])

    def _public(self, value: Any) -> Any:
        """Return plain values with the names of stores in place of their paths, which need not be published."""
        if isinstance(value, dict):
            return {key: self._public(of) for key, of in value.items()}
        if isinstance(value, list):
            return [self._public(of) for of in value]
        if isinstance(value, str):
            for path in self._paths:
                value = value.replace(path, path.rpartition("/")[2])
        return value


def chunk(name: str, chunks: int) -> int:
    """Return the script that holds an image, SHARD/KEY: FNV-1a (32 bits) of its UTF-8, modulo `chunks`."""
    found = 0x811C9DC5
    for byte in name.encode():
        found = ((found ^ byte) * 0x01000193) & 0xFFFFFFFF
    return found % chunks


def _cells(store: Watched) -> list[str]:
    """Return the cells that have rows, in the order of the table."""
    return list(dict.fromkeys(line["cell"] for line in store.content["lines"]))


def _pairs(stores: Sequence[Watched]) -> Iterator[tuple[Watched, str, Watched, str]]:
    """Yield the pairs of cells that are compared, both ways: first of the same name in two stores, then of one store."""
    for first, second in permutations(stores, 2):
        theirs = set(_cells(second))
        yield from ((first, cell, second, cell) for cell in _cells(first) if cell in theirs)
    for store in stores:
        yield from ((store, first, store, second) for first, second in permutations(_cells(store), 2))


def _chosen(store: Watched, count: int) -> list[tuple[str, str]]:
    """Return the shard and key of some images: by turns one of each outcome in each cell, but for images that failed."""
    outcome = expression("outcome", RULE, TOP)
    asked = (
        f"SELECT cell, {outcome} AS outcome, shard, image_key FROM rows WHERE status = 'ok' "
        "QUALIFY row_number() OVER (PARTITION BY cell, outcome ORDER BY place) <= ? ORDER BY cell, outcome, place"
    )
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in store.database.table(asked, [count]).to_pylist() if count else ():
        kinds.setdefault((row["cell"], row["outcome"]), []).append((row["shard"], row["image_key"]))
    turns = (image for turn in zip_longest(*kinds.values()) for image in turn if image)
    return list(dict.fromkeys(turns))[:count]
