"""--limit: the meaning of data.limit, without a change of the file; a store keeps the limit that it was made with."""

import re

import pytest

from pipeline.campaigns import check as checks
from pipeline.campaigns.job import opened
from pipeline.execution import detached
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import rows

LIMIT = 6
"""More than the first shard of five, less than both."""


@pytest.fixture
def campaign(write, pattern):
    return write(tiny.campaign(pattern, cells=[{"model": "net", "defense": "none", "attack": "pgd"}]))


def test_a_limited_run_is_the_run_of_a_limited_file(campaign, write, pattern, tmp_path, barrage):
    data = {"shards": pattern, "resize": None, "crop": 32, "limit": LIMIT}
    other = write(
        tiny.campaign(pattern, cells=[{"model": "net", "defense": "none", "attack": "pgd"}], data=data), "limited.yaml"
    )
    assert barrage("run", campaign, "--here", "--store", tmp_path / "a", "--limit", LIMIT)[0] == 0
    assert barrage("run", other, "--here", "--store", tmp_path / "b")[0] == 0
    assert len(results(str(tmp_path / "a"))) == LIMIT and rows(tmp_path / "a") == rows(tmp_path / "b")
    assert opened(str(tmp_path / "a")).campaign == opened(str(tmp_path / "b")).campaign

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words, said in (
        ([campaign], f"was made with data.limit {LIMIT}, not None: go on with --limit {LIMIT}, or use another --store"),
        (
            [campaign, "--limit", 7],
            f"was made with data.limit {LIMIT}, not 7: go on with --limit {LIMIT}, or use another --store",
        ),
    ):
        code, _, err = barrage("run", *words, "--here", "--store", tmp_path / "a")
        assert code == 2 and err.splitlines() == [f"barrage: store {tmp_path / 'a'} {said}"]
    assert barrage("run", other, "--here", "--store", tmp_path / "a")[0] == 0, "the file may say it instead"
    assert barrage("run", other, "--here", "--store", tmp_path / "b", "--limit", LIMIT)[0] == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_store_without_a_limit_refuses_one(write, pattern, finished, barrage):
    code, _, err = barrage("run", write(tiny.campaign(pattern)), "--here", "--store", finished(), "--limit", 3)
    assert code == 2 and "was made with data.limit None, not 3: go on without a limit, or use another --store" in err


@pytest.mark.parametrize(("options", "images"), [([], 8), (["--limit", 6], 6), (["--images", 100, "--limit", 6], 6)])
def test_plan_counts_the_images_of_a_limited_run(campaign, barrage, options, images):
    out = barrage("plan", campaign, "--no-calibrate", *options)[1]
    assert re.search(rf"net-none-pgd .* {images} .* {images * 6} ", out), out


@pytest.mark.parametrize(("images", "limit", "sample"), [(4, 2, 2), (2, 4, 2)])
def test_check_samples_no_more_than_the_limit(campaign, barrage, monkeypatch, tmp_path, images, limit, sample):
    seen, made = [], checks.campaign_of

    def stop(*arguments):
        seen.append(made(*arguments).data.limit)
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "campaign_of", stop)
    words = ["--here", "--images", images, "--limit", limit, "--store", tmp_path / "store"]
    assert barrage("check", campaign, *words)[0] == 130 and seen == [sample]


def test_a_detached_run_is_asked_for_the_same(campaign, barrage, monkeypatch, tmp_path):
    asked = []

    def detach(arguments, store):
        asked.extend(arguments)
        return detached.Detached(1, tmp_path / "log")

    monkeypatch.setattr(detached, "detach", detach)
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support.tracking.trackers,tests.support.tiny")
    words = ["--limit", "3", "--track", "recording:a", "--track", "recording:b", "--here", "--store", str(tmp_path / "store")]
    assert barrage("run", campaign, *words, "--detach")[0] == 0
    assert sorted(asked) == sorted(["run", str(campaign), *words])
