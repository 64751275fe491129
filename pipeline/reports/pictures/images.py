"""Read the images of a store one by one: clean, from their shards; attacked, from the store. Several threads may ask."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

import numpy as np

from pipeline import escaped
from pipeline.campaigns import definition_versions
from pipeline.campaigns.job import Job
from pipeline.config.campaign import Cell
from pipeline.data import guarded, pictures, single
from pipeline.data.samples import MAX_BYTES, Sample
from pipeline.data.single import Listing
from pipeline.data.tars import writing
from pipeline.errors import BadInput, ShardUnusable, steady
from pipeline.planning.units import Unit, of_name
from pipeline.reports.pictures.example import Example, Picture
from pipeline.reports.pictures.kept import Kept
from pipeline.storage import urls
from pipeline.store.layout import Store

T = TypeVar("T")

Row = Mapping[str, Any]
"""A row of a store with the columns OF_A_PICTURE, at least."""

OF_A_PICTURE = ("cell", "shard", "image_key", "unit", "status", "error")
"""The columns of a row that its pictures need."""

LISTED = 1_000_000
"""The most samples of shards, or files of examples, whose places are kept: some hundred megabytes."""

DECODED = 64 << 20
"""Bytes of decoded pictures that are kept."""

UNREADABLE = ("bad_shard", "bad_key", "bad_image")
"""The status of rows whose image is none that can be shown."""

Places = dict[str, tuple[int, int]]
"""Where the bytes of each file of a tar begin, and how many they are."""


class Images:
    """Read the images of the store of a job. Every method raises BadInput, whose one line says why there is no picture."""

    def __init__(self, job: Job) -> None:
        self.job, self._store = job, Store(job.store, urls.ANSWER_SECONDS)
        self._listings = Kept[Listing](LISTED, lambda found: len(found.samples))
        self._places = Kept[Places](LISTED, len)
        self._decoded = Kept[Picture](DECODED, lambda picture: picture.nbytes)

    def example(self, row: Row) -> Example:
        """Return the image of a row: clean, and attacked if the store holds its example."""
        return Example(row["image_key"], self.clean(row), self._stored(row))

    def clean(self, row: Row) -> Picture:
        """Return the clean image as its cell frames it."""
        cell, shard, key = self.cell(row), row["shard"], row["image_key"]
        if row["status"] in UNREADABLE:
            raise BadInput(f"{_named(row)} is no picture that can be shown: {_why(row)}")
        if shard not in self.job.shards:
            raise BadInput(f"shard {escaped.excerpt(shard)} is none of the store {self.job.store}")
        framing = (cell.resize, cell.crop, cell.framing, cell.exif)
        with readable():
            try:
                version = single.version(self.job.shards[shard])
                return self._decoded.get((shard, version, key, framing), lambda: self._clean(cell, shard, version, key))
            except ShardUnusable as error:
                raise BadInput(f"{error}; without it there are no clean images") from None

    def adversarial(self, row: Row) -> Picture:
        """Return the attacked image as it is stored."""
        found = self._stored(row)
        if found is None:
            raise BadInput(f"there is no attacked image: {self.no_examples}")
        return found

    @property
    def no_examples(self) -> str:
        """Return in words why a store has no examples, where it has none."""
        kept = self.job.campaign.save_adversarial
        return "the store's folder adversarial/ is not here" if kept else "the campaign keeps none (save_adversarial)"

    def cell(self, row: Row) -> Cell:
        """Return the cell of a row."""
        if row["cell"] not in self.job.cells:
            raise BadInput(
                f"cell {escaped.excerpt(row['cell'])} is none of the store {self.job.store}: it has {', '.join(self.job.cells)}"
            )
        return self.job.cells[row["cell"]]

    def drawn_by(self, row: Row) -> Cell:
        """Return the cell of a row, whose draws can be made again: by definitions that are still what they were."""
        self._refuse_failed(row)
        cell = self.cell(row)
        if changed := self._outdated.get(cell.name):
            raise BadInput(f"{changed}: its draws are not shown; the release that wrote them can show them")
        if row.get("campaign") not in (None, cell.identity):
            raise BadInput("the row was made by another campaign than the store's campaign.yaml describes: no draws are shown")
        return cell

    @cached_property
    def _outdated(self) -> Mapping[str, str]:
        """Return the cells whose definitions have another version now, and what changed."""
        return definition_versions.outdated(self.job.campaign, self.job.store)

    def _refuse_failed(self, row: Row) -> None:
        """Raise BadInput for an image that was not attacked."""
        if row["status"] != "ok":
            raise BadInput(f"{_named(row)} was not attacked: {_why(row)}")

    def unit(self, row: Row) -> Unit:
        """Return the unit that a row names."""
        found = of_name(str(row["unit"]), self.job.cells, self.job.shards)
        if found is None or (found.cell, found.shard) != (row["cell"], row["shard"]):
            raise BadInput(
                f"unit {escaped.excerpt(row['unit'])} is none of store {self.job.store}: expected one of its campaign.yaml"
            )
        return found

    @cached_property
    def _decoding(self) -> object:
        """Return the version that decoded the images of the store."""
        return definition_versions.decoding(self.job.store)

    def _clean(self, cell: Cell, shard: str, version: object, key: str) -> Picture:
        """Read and decode a clean image; `version` is that of the shard's file."""
        known = self.job.shards[shard]
        listing = self._listings.get((shard, version), lambda: single.listing(known))
        sample = listing.samples.get(key)
        if sample is None:
            raise BadInput(f"shard {known.url} holds no image {escaped.excerpt(key)}: give a key of its rows")
        if sample.at is None:
            raise BadInput(f"image {escaped.excerpt(key)} of shard {shard} is no picture that can be shown: {sample.error}")
        return self._as_planned(cell, sample, single.image(known, sample, listing.folded))

    def _as_planned(self, cell: Cell, sample: Sample, data: bytes) -> Picture:
        """Decode a clean image. Raises BadInput for one that had other pixels when the store was made."""
        if self._decoding != pictures.VERSION and (before := pictures.before(data)):
            raise BadInput(
                f"image {escaped.excerpt(sample.key)} {before} when the store was made: the release that made it can show it"
            )
        try:
            return guarded.decode(data, cell.resize, cell.crop, cell.framing, cell.exif)
        except ValueError as error:
            raise BadInput(f"image {escaped.excerpt(sample.key)} can not be decoded: {error}") from None

    def _stored(self, row: Row) -> Picture | None:
        """Return the stored example of a row, or None if the file of its unit is not there."""
        self._refuse_failed(row)
        cell, unit, key = self.cell(row), self.unit(row), row["image_key"]
        name = self._store.adversarial(unit)
        with readable():
            entry = self._store.entry(name)
            if entry is None:
                return None
            return self._decoded.get((entry, key), lambda: self._attacked(name, entry, key, cell.crop))

    def _attacked(self, name: str, version: object, key: str, side: int) -> Picture:
        """Read and decode a stored example, side x side pixels, of the file of a unit."""
        example = f"{name}: the example of image {escaped.excerpt(key)}"
        try:
            places = self._places.get(version, lambda: self._read(name, writing.places))
            if f"{key}.png" not in places:
                raise BadInput(f"{example} is missing: `barrage verify` tells what the store lacks")
            begin, size = places[f"{key}.png"]
            if size > MAX_BYTES:
                raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
            data = self._read(name, lambda file: single.part(file, begin, size))
            picture = np.asarray(pictures.opened(data)).transpose(2, 0, 1).copy()
        except BadInput:
            raise
        except ValueError as error:
            raise BadInput(f"{example} can not be read: {error}; copy the file again") from None
        if picture.shape != (3, side, side):
            raise BadInput(f"{example} has {picture.shape[2]} x {picture.shape[1]} pixels, expected {side} x {side}")
        return picture

    def _read(self, name: str, read: Callable[[BinaryIO], T]) -> T:
        """Return what `read` makes of an open file of the store."""
        with self._store.open(name) as file:
            return read(file)


@contextmanager
def readable() -> Iterator[None]:
    """Raise BadInput for what a shard or store that is missing, changed or out of reach raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename} was removed while it was read: try again") from None
    except OSError as error:
        raise BadInput(f"can not be read: {steady(error)}; repair the disk or its mount") from None
    except RuntimeError as error:  # the shard, the storage, or the process that decodes
        raise BadInput(str(error)) from None


def _named(row: Row) -> str:
    return f"image {escaped.excerpt(row['image_key'])} of shard {escaped.excerpt(row['shard'])}"


def _why(row: Row) -> str:
    return f"{escaped.excerpt(row['status'])}, {escaped.excerpt(row['error'])}"
