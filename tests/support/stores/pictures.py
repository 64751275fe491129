"""Know the pictures of a tiny store by Pillow alone, and the one line of a refusal."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.tars.writing import unpacked
from pipeline.errors import BadInput
from pipeline.store.rows import results
from pipeline.view.pictures import COLUMNS, Key
from tests.support import tiny

WHATS = ("clean", "adversarial", "difference", "clean-draw-0", "adversarial-draw-0")


def keys_of(store, **wanted):
    """The names of the images of a store whose rows have these values."""
    rows = results(str(store), COLUMNS).to_pylist()
    return [Key(r["cell"], r["shard"], r["image_key"]) for r in rows if all(r[name] == value for name, value in wanted.items())]


def pixels(png):
    """A PNG file as Pillow reads it, (3, h, w)."""
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.mode == "RGB"
    return np.asarray(picture).transpose(2, 0, 1)


def clean(key):
    """The image of the tiny shards as a cell frames it, by Pillow alone."""
    image = Image.open(io.BytesIO(tiny.picture(int(key.key.removeprefix("image"))))).convert("RGB")
    return np.asarray(image.crop((4, 4, 36, 36))).transpose(2, 0, 1)


def stored(store, row):
    tar = (Path(store) / "adversarial" / f"cell={row['cell']}" / f"{row['unit']}.tar").read_bytes()
    return np.asarray(Image.open(io.BytesIO(unpacked(tar)[f"{row['image_key']}.png"]))).transpose(2, 0, 1)


def said(call, *arguments):
    """The one line of a refusal."""
    with pytest.raises(BadInput) as error:
        call(*arguments)
    text = str(error.value)
    assert "\n" not in text and 0 < len(text) <= 1100
    return text
