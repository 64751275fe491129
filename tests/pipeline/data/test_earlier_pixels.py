"""A store whose images had other pixels in the release that made it is refused; any other store of that release goes on."""

import io

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import Data, parse
from pipeline.data import pictures
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from pipeline.training import record
from tests.support import tiny
from tests.support.campaigns import ran, rows
from tests.support.odd.pictures import COLOUR, GREY, GREY16, PICTURES, encoded, png, rgb
from tests.support.stores import release01


def in_release_01(data):
    """The pixels of an image file as release 0.1 decoded it, None where it refused it."""
    try:
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if picture.mode.startswith("I"):  # as Pillow 11 clipped it
            return rgb(np.clip(np.asarray(picture), 0, 255).astype(np.uint8))
        return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize("name", [name for name in PICTURES if "smaller" not in name])
def test_an_image_is_named_exactly_where_its_pixels_changed(name):
    data = PICTURES[name].data
    try:
        now = np.asarray(pictures.opened(data))
    except ValueError:
        now = None
    earlier = in_release_01(data)
    same = now is earlier or (now is not None and earlier is not None and np.array_equal(now, earlier))
    assert bool(pictures.before(data)) == (not same)


ODD = {
    "clipped from 16 bits to white": encoded(Image.fromarray(GREY16)),
    "was grey for the lack of a palette": png(8, 3, GREY),
    "was `bad_image` as a WEBP file": encoded(Image.fromarray(COLOUR), "WEBP"),
}
"""What an image was, and its file."""


def store(folder, data):
    """A finished store of two images as release 0.1 left it; the second is `data`, under the name of a PNG."""
    names = []
    for name, content in (("a.png", tiny.picture(0)), ("b.png", data)):
        (folder / name).write_bytes(content)
        names.append((folder / name, 1))
    pack(names, folder / "shards")
    grid = [{"model": "net", "defense": "none", "attack": "pgd"}]
    content = tiny.campaign(str(folder / "shards/*.tar"), cells=grid)
    ran(content, folder / "store")
    release01.aged(folder / "store")
    return parse(content, "c.yaml"), folder / "store"


@pytest.mark.parametrize("said", ODD)
def test_a_store_of_such_images_is_refused_and_its_rows_are_named(tmp_path, said):
    campaign, url = store(tmp_path, ODD[said])
    with pytest.raises(BadInput, match=f"image b of shard images-000000 .*{said}.*use another --store"):
        prepare(campaign, str(url))
    assert any(said in fault and fault.endswith("its rows are wrong") for fault in verify(opened(str(url))))


def test_any_other_store_is_looked_through_once_and_goes_on(tmp_path):
    campaign, url = store(tmp_path, tiny.picture(1))
    before, said = rows(url), []
    job = prepare(campaign, str(url), said.append)
    assert any("looking for images that had other pixels" in line for line in said)
    job.write_down()
    assert yaml.safe_load((url / "campaign.yaml").read_text())["decoding"] == pictures.VERSION
    said.clear()
    prepare(campaign, str(url), said.append)
    assert said == [] and rows(url) == before and list(verify(opened(str(url)))) == []


def test_a_training_is_refused_likewise(tmp_path):
    for name, content in (("a.png", tiny.picture(0)), ("b.png", encoded(Image.fromarray(GREY16)))):
        (tmp_path / name).write_bytes(content)
    pack([(tmp_path / "a.png", 0), (tmp_path / "b.png", 1)], tmp_path / "shards")
    data, url = Data(shards=[str(tmp_path / "shards/*.tar")]), str(tmp_path / "store")
    (shard,) = record.inspected(data, url, lambda line: None)
    content = {"shards": [{**shard.__dict__, "labels": list(shard.labels)}]}
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "training.yaml").write_text(yaml.safe_dump(content | {"decoding": pictures.VERSION}))
    assert record.inspected(data, url, lambda line: None) == [shard]
    (tmp_path / "store" / "training.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput, match="image b of shard images-000000 was clipped"):
        record.inspected(data, url, lambda line: None)
