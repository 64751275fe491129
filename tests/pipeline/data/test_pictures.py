import io
import warnings

import numpy as np
import pytest
from PIL import Image

from pipeline.config.campaign import Data, parse
from pipeline.data import pictures, shards
from pipeline.errors import steady
from pipeline.training.record import hash_of_images
from tests.support import tiny
from tests.support.odd.pictures import COLOUR, GREY, GREY16, PICTURES, SIDE, SMOOTH, encoded, rgb, turned


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_of_any_kind_is_what_a_viewer_shows_or_is_refused(name):
    picture = PICTURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if picture.truth is None:
            with pytest.raises(ValueError):
                shards.decode(picture.data, None, SIDE)
            return
        found = shards.decode(picture.data, None, SIDE).transpose(1, 2, 0).astype(int)
    assert np.abs(found - picture.truth).max() <= picture.off


def test_every_mode_of_pillow_is_converted_or_refused():
    """No mode is left to chance: a new one of Pillow fails here."""
    known = {*pictures.WAYS, "I", "F", "LAB"}
    assert set(getattr(Image, "MODES", known)) <= known
    for mode in known - pictures.WAYS.keys():
        with pytest.raises(ValueError, match=f"mode {mode}"):
            pictures.rgb(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(("mode", "order"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2")])
def test_sixteen_bits_are_scaled_in_either_order_of_bytes(mode, order):
    image = Image.frombytes(mode, (SIDE, SIDE), GREY16.astype(order).tobytes())
    assert np.array_equal(np.asarray(pictures.rgb(image)), rgb((GREY16 >> 8).astype(np.uint8)))


def test_other_modes_become_the_colours_that_they_stand_for():
    colour, smooth = Image.fromarray(COLOUR), Image.fromarray(SMOOTH)
    opacity = Image.fromarray(np.full((SIDE, SIDE), 200, np.uint8))
    premultiplied = Image.merge("RGBA", [*colour.split(), opacity]).convert("RGBa")
    assert np.abs(np.asarray(pictures.rgb(premultiplied)).astype(int) - COLOUR).max() <= 1
    grey = Image.merge("LA", [Image.fromarray(GREY), opacity]).convert("La")
    assert np.abs(np.asarray(pictures.rgb(grey)).astype(int) - rgb(GREY)).max() <= 2
    assert np.abs(np.asarray(pictures.rgb(smooth.convert("YCbCr"))).astype(int) - SMOOTH).max() <= 3
    assert np.abs(np.asarray(pictures.rgb(smooth.convert("HSV"))).astype(int) - SMOOTH).max() <= 12


def test_exif_turns_only_where_it_is_asked_for():
    plain, other = (shards.decode(turned(), None, SIDE, exif=exif).transpose(1, 2, 0).astype(int) for exif in (False, True))
    assert np.abs(plain - SMOOTH).max() <= 4 and np.abs(other - np.rot90(SMOOTH, -1)).max() <= 4


@pytest.mark.parametrize("name", [name for name in PICTURES if "EXIF" not in name])
def test_asking_for_exif_changes_no_image_without_it(name):
    def outcome(exif):
        try:
            return shards.decode(PICTURES[name].data, None, SIDE, exif=exif).tobytes()
        except ValueError as error:
            return str(error)

    assert outcome(True) == outcome(False)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_turns_other_kinds_than_jpeg_and_images_of_16_bits(kind):
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(Image.fromarray(COLOUR), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(shards.decode(data, None, SIDE, exif=True).transpose(1, 2, 0), np.rot90(COLOUR, -1))
    if kind == "PNG":
        grey = encoded(Image.fromarray(GREY16), kind, exif=exif)
        found = shards.decode(grey, None, SIDE, exif=True).transpose(1, 2, 0)
        assert np.array_equal(found, np.rot90(rgb((GREY16 >> 8).astype(np.uint8)), -1))


def test_exif_is_part_of_the_identity_where_it_is_asked_for():
    plain, other = (
        parse(tiny.campaign("x.tar", data={"shards": "x.tar", "resize": None, "crop": 32, **more}), "c.yaml")
        for more in ({}, {"exif": True})
    )
    for one, turned_one in zip(plain.grid(), other.grid(), strict=True):
        assert one.identity != turned_one.identity
    assert hash_of_images([], Data(shards=["x.tar"])) != hash_of_images([], Data(shards=["x.tar"], exif=True))


def test_whatever_a_decoder_raises_is_one_text_on_every_run(monkeypatch):
    def strange(*args, **options):
        raise RuntimeError(f"<_io.BytesIO object at {id(object()):#x}> of /tmp/abc{id(object())}/x.png:\n bad")

    monkeypatch.setattr(Image, "open", strange)
    with pytest.raises(ValueError, match=r"^\.\.\. of \.\.\.: bad$"):
        shards.decode(b"x", None, 32)
    assert steady(KeyError()) == "KeyError"


def test_damaged_images_of_every_kind_give_pixels_or_one_kind_of_error_twice_the_same():
    dice = np.random.default_rng(1)

    def outcome(data):
        try:
            return shards.decode(data, None, SIDE).tobytes()
        except ValueError as error:
            return str(error)

    for picture in PICTURES.values():
        for _ in range(12 if picture.data else 0):
            data = bytearray(picture.data)
            for place in dice.integers(0, min(len(data), 200), 3):
                data[place] = dice.integers(0, 256)
            first, again = outcome(bytes(data)), outcome(bytes(data))
            assert first == again and (isinstance(first, bytes) or "0x" not in first)


def test_a_kind_that_pillow_lacks_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(pictures, "formats", lambda: ("JPEG", "PNG"))
    with pytest.raises(ValueError, match="the bytes are no JPEG or PNG image"):
        shards.decode(encoded(Image.fromarray(COLOUR), "WEBP"), None, SIDE)
    assert shards.decode(encoded(Image.open(io.BytesIO(tiny.picture(1)))), None, 32).shape == (3, 32, 32)
