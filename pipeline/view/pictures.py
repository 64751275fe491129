"""Give the pictures of stored images to a page: as PNG, and the draws that judged them as plain values; or write them as files.

Whatever is missing, damaged, hostile or moved is a BadInput whose one line the page shows. Several threads may ask at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import escaped
from pipeline.campaigns.job import opened
from pipeline.config.campaign import Data
from pipeline.errors import BadInput
from pipeline.reports.pictures import OF_A_PICTURE, Example, Images, Kept, Row, made_of, png, readable, seen, sheet
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE
from pipeline.store.rows import batches, with_key

COLUMNS = (*OF_A_PICTURE, "label", "campaign", "clean_top5", "adv_top5")
"""The columns of a row that its pictures and draws need."""

ENCODED = 64 << 20
"""Bytes of encoded pictures that are kept."""

SIDES = {"clean": "clean_top5", "adversarial": "adv_top5"}
"""What draws judged, and the column of their classes."""

_WHAT = re.compile(r"(clean|adversarial|difference)|(clean|adversarial)-draw-(0|[1-9][0-9]{0,5})", re.ASCII)


class Key(NamedTuple):
    """Name an image of a cell: the cell, the shard, and the image's key there."""

    cell: str
    shard: str
    key: str


Find = Callable[[Key], Row | None]
"""Return the row of an image with the columns COLUMNS; None if there is none."""


class Exported(NamedTuple):
    """Hold what was written for an image.

    number   in the names of its files
    files    the names of the pictures that were written: "clean", "clean-draw-0"
    missing  why others were not, by name
    draws    what `Pictures.draws` returns; None, with the reason under "draws" in `missing`, if there are none
    """

    number: int
    files: list[str]
    missing: dict[str, str]
    draws: dict[str, Any] | None


class _Opened(NamedTuple):
    images: Images
    encoded: Kept[bytes]


class Pictures:
    """Show the images of one store. Every method raises BadInput, whose one line says why there is nothing to show.

    find  returns the row of an image; default: it is looked up in the store's files, which reads the rows of a cell
    """

    def __init__(self, store: str, find: Find | None = None) -> None:
        self._store, self._find = store, find or (lambda key: row_of(store, key))
        self._opened = Kept[_Opened](1)

    def png(self, key: Key, what: str) -> bytes:
        """Return a picture as a PNG file.

        what  "clean", "adversarial", "difference", or what the model got behind a draw: "clean-draw-0", "adversarial-draw-19".
              A draw through which several images go to the model is one picture of all of them
        """
        asked = _WHAT.fullmatch(what)
        if asked is None:
            raise BadInput(
                f"what={escaped.excerpt(what)}: expected clean, adversarial, difference, clean-draw-N or adversarial-draw-N"
            )
        images, encoded = self._now()
        row = self._row(key)
        return encoded.get((key, what), lambda: png(_picture(images, row, asked)))

    def draws(self, key: Key) -> dict[str, Any]:
        """Return the draws that judged an image, clean and attacked, as plain values.

        magnified  how many grey levels of the difference stand for one of the change; None where there is no difference
        problem    why the draws have no parts or pictures, in one line; None where they have
        clean, adversarial  a mapping a draw: `draw`, its number from 0; `classes`, five, likeliest first, with their `names`
                   (None: the model has fewer); `right`; `parts`, what the draw is made of in order; `settings` of each part
        """
        images, _ = self._now()
        row = self._row(key)
        try:
            made, problem = _made(images, row), None
        except BadInput as error:
            made, problem = [], str(error)
        sides = {side: _judged(row, column, made, images.job.campaign.data) for side, column in SIDES.items()}
        return {"magnified": _magnified(images, row), "problem": problem, **sides}

    def export(self, keys: Iterable[Key], folder: Path, draws: int = 0) -> Iterator[Exported]:
        """Write the pictures of images as `folder/<number>-<what>.png`, numbered from 0, and yield what was written of each.

        draws  pictures of draws of each image and side; default: none
        One image is in memory at a time. Raises OSError if the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        names = ["clean", "adversarial", "difference", *(f"{side}-draw-{i}" for i in range(draws) for side in SIDES)]
        for number, key in enumerate(keys):
            files, missing, found = list[str](), dict[str, str](), None
            for what in names:
                try:
                    data = self.png(key, what)
                except BadInput as error:
                    missing[what] = str(error)
                else:
                    (folder / f"{number}-{what}.png").write_bytes(data)
                    files.append(what)
            try:
                found = self.draws(key)
            except BadInput as error:
                missing["draws"] = str(error)
            yield Exported(number, files, missing, found)

    def _now(self) -> "_Opened":
        """Return the images of the store as its campaign file is now, and their pictures; both end when that file changes."""
        with readable():
            entry = Store(self._store, urls.ANSWER_SECONDS).entry(FILE)
            return self._opened.get(entry, lambda: _Opened(Images(opened(self._store)), Kept[bytes](ENCODED, len)))

    def _row(self, key: Key) -> Row:
        """Return the row of an image."""
        with readable():
            row = self._find(key)
        if row is None:
            cell, shard, image = map(escaped.excerpt, key)
            raise BadInput(
                f"store {self._store} holds no row of image {image} of shard {shard} in cell {cell}: ask for another"
            )
        return row


def row_of(store: str, key: Key) -> Row | None:
    """Return the row of an image from the files of a store, with the columns COLUMNS; None without one. Raises BadInput."""
    for batch in batches(store, COLUMNS, [key.cell]):
        for row in with_key(batch, key.key):
            if row["shard"] == key.shard:
                return row
    return None


def _picture(images: Images, row: Row, asked: "re.Match[str]") -> Any:
    """Return the picture that was asked for, (3, h, w) uint8."""
    plain, side, draw = asked.groups()
    if plain == "clean":
        return images.clean(row)
    if plain == "adversarial":
        return images.adversarial(row)
    if plain == "difference":
        return Example(row["image_key"], images.clean(row), images.adversarial(row)).difference
    cell, count = images.drawn_by(row), len(row[SIDES[side]])
    if int(draw) >= count:
        raise BadInput(f"draw {draw}: image {escaped.excerpt(row['image_key'])} was judged by {count} draws, 0 to {count - 1}")
    given = images.clean(row) if side == "clean" else images.adversarial(row)
    return sheet(seen(cell, (row["shard"], row["image_key"]), given, int(draw)))


def _made(images: Images, row: Row) -> list[list[tuple[str, dict[str, Any]]]]:
    """Return what each draw that judged an image is made of, in order."""
    cell, image = images.drawn_by(row), (row["shard"], row["image_key"])
    return [[(stage.name, stage.settings) for stage in made_of(cell, image, draw)] for draw in range(len(row["adv_top5"]))]


def _judged(row: Row, column: str, made: list[list[tuple[str, dict[str, Any]]]], data: Data) -> list[dict[str, Any]]:
    """Return the draws of one side as plain values."""
    every = row[column] or []
    parts, names = made or [[] for _ in every], data.names
    return [
        {
            "draw": number,
            "classes": [*five],
            "names": [_name(label, names) for label in five],
            "right": five[0] == row["label"],
            "parts": [name for name, _ in parts[number]],
            "settings": [settings for _, settings in parts[number]],
        }
        for number, five in enumerate(every)
    ]


def _name(label: int, names: list[str]) -> str | None:
    """Return the name of a class, its number where it has none, or None for no class."""
    if label < 0:
        return None
    return names[label] if label < len(names) else str(label)


def _magnified(images: Images, row: Row) -> float | None:
    """Return by how much the difference of an image is magnified; None where there is none to show."""
    try:
        example = images.example(row)
    except BadInput:
        return None
    return None if example.adversarial is None else example.magnified
