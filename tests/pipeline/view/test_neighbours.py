"""Pictures, draws, comparisons and errors of a real run, over HTTP, against the rooms that make them."""

import io
import json
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.stores import viewer

pictures = pytest.importorskip("pipeline.reports.pictures", reason="needs the pictures of stores")
comparison = pytest.importorskip("pipeline.analysis.comparison", reason="needs comparisons")

CELL = "net-bart2-pgd"


@pytest.fixture(scope="module")
def done(packed, tmp_path_factory):
    """A store of a whole run."""
    content = tiny.campaign(str(packed / "shards" / tiny.SHARDS))
    job, _ = ran(content, tmp_path_factory.mktemp("run") / "store")
    return job


def test_the_pictures_are_those_of_the_store(serve, done):
    store = viewer.watched(done.store)
    server, images = serve(store), pictures.Images(done)
    rows = server.ask("api/rows.json", {"where": [["cell", "=", CELL]]})[2]
    found = [dict(zip(rows["columns"], row, strict=True)) for row in rows["rows"]]
    assert store.content["pictures"] and len(found) == 8
    for row in found[:3]:
        asked = {"store": "0", "cell": CELL, "shard": row["shard"], "key": row["image_key"]}
        for what, expected in (("clean", images.clean(row)), ("adversarial", images.adversarial(row))):
            status, headers, data = server.ask(f"api/picture.png?{urlencode(asked | {'what': what})}")
            assert status == 200 and headers["content-type"] == "image/png"
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1), expected)
        _, _, draws = server.ask(f"api/draws.json?{urlencode(asked)}")
        assert sum(draw["right"] for draw in draws["adversarial"]) == round(row["adv"] * row["evaluation_draws"])
        assert {len(draw["parts"]) for draw in draws["clean"]} == {2} and draws["magnified"] > 1
        for trick in ("", "../clean", "clean-draw-99", "adversarial-draw--1", "x" * 9999):
            status, _, body = server.ask(f"api/picture.png?{urlencode(asked | {'what': trick})}")
            assert status == 404 and "\n" not in body["error"] and len(body["error"]) < 1500


def test_a_comparison_is_that_of_notebooks(serve, done):
    server = serve(viewer.watched(done.store))
    asked = {"first": "0", "first_cell": CELL, "second": "0", "second_cell": "net-none-pgd", "rule": "vote", "top": "5"}
    _, _, found = server.ask(f"api/compare.json?{urlencode(asked)}")
    sides = (comparison.Side(done.store, cell) for cell in (CELL, "net-none-pgd"))
    expected = json.loads(json.dumps(comparison.comparison(*sides, "vote", 5).as_dict(), default=str))
    for side in ("first", "second"):
        expected[side]["costs"], expected[side]["cost"] = expected[side]["cost"], expected[side]["cost"]["draw_gradients"]
    assert found == expected
    _, _, found = server.ask(f"api/compare.json?{urlencode(asked | {'second_cell': 'other'})}")
    assert "other" in found["problem"]


def test_errors_are_those_of_notebooks(serve, done):
    errors = pytest.importorskip("pipeline.analysis.errors", reason="needs the analysis of errors")
    _, _, found = serve(viewer.watched(done.store)).ask(f"api/errors.json?store=0&cell={CELL}&rule=single&top=1")
    assert found == json.loads(json.dumps(errors.errors(done.store, CELL, "single", 1)))
