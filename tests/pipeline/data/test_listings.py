"""Images read by their places: the same samples as of the whole shard, few bytes besides, and no byte that was not planned."""

import hashlib
import json
import random
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from pipeline.campaigns.attempt import reading
from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
from pipeline.data import listings, shards
from pipeline.data.pack import pack
from pipeline.errors import BadInput, ShardUnusable
from pipeline.storage import urls
from pipeline.storage.disk import Disk
from pipeline.store import formats
from pipeline.store.layout import Store
from tests.support import tiny
from tests.support.campaigns import ran, rows
from tests.support.odd.shards import SHARDS


@pytest.mark.parametrize("seed", range(20))
def test_every_place_lies_in_a_range_and_little_else(seed):
    chance = random.Random(seed)
    at, places, size = 512, set(), chance.choice([3_000, 110_000])
    for _ in range(300):
        image = chance.randrange(size // 2, 2 * size)
        if chance.random() < 1 / 3:
            places.add((at, image))
        at += image + 1536
    asked = listings.ranges(places)
    assert all(begin + length <= after for (begin, length), (after, _) in pairwise(asked))
    assert all(any(b <= begin and begin + length <= b + n for b, n in asked) for begin, length in places)
    used, read = (sum(length for _, length in found) for found in (places, asked))
    assert len(asked) < len(places)
    if size > listings.NEAR:
        assert read <= 1.2 * used, "gaps that are near are the headers between two images"
    else:
        assert len(asked) < len(places) / 3, "a request for each of many small images costs more than all their bytes"
    assert all(length <= listings.PART for _, length in asked)


def test_ranges_by_hand():
    assert listings.ranges(set()) == []
    assert listings.ranges({(512, 10)}) == [(512, 10)]
    assert listings.ranges({(0, 1000), (17_000, 1000)}) == [(0, 18_000)], "they are near"
    assert listings.ranges({(0, 10**6), (1_200_000, 10**6)}) == [(0, 2_200_000)], "the gap is a tenth of what is used"
    assert listings.ranges({(0, 10**6), (1_400_000, 10**6)}) == [(0, 10**6), (1_400_000, 10**6)]
    assert listings.ranges({(0, 100), (0, 50), (20, 30)}) == [(0, 100)], "two names of one image"


@pytest.mark.parametrize("name", SHARDS)
def test_an_odd_shard_gives_the_same_samples_by_its_listing(name, tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(SHARDS[name].data)
    try:
        shard = shards.inspect(path)
    except BadInput:
        return  # a shard that no campaign takes
    whole, listing = shards.read_and_list(shard, range(shard.images))
    assert whole == shards.read(shard, range(shard.images))
    if listing is None:
        return
    again = listings.Listing.of(listing.content())
    for wanted in [range(shard.images), *({i} for i in range(shard.images))]:
        found = shards.read_listed(shard, again, wanted)
        assert found is None or found == shards.read(shard, wanted)


def test_most_odd_shards_have_a_listing_that_serves(tmp_path):
    served, path = 0, tmp_path / "x.tar"
    for odd in SHARDS.values():
        path.write_bytes(odd.data)
        try:
            shard = shards.inspect(path)
        except BadInput:
            continue
        _, listing = shards.read_and_list(shard, range(shard.images))
        served += listing is not None and shards.read_listed(shard, listing, range(shard.images)) is not None
    assert served > len(SHARDS) / 3


@pytest.fixture
def one(tmp_path):
    """A packed shard of eight images, and what is needed to read it as a worker does."""
    files = []
    for i in range(8):
        (tmp_path / f"image{i}.png").write_bytes(tiny.picture(i, side=200))
        files.append((tmp_path / f"image{i}.png", i))
    (path,) = pack(files, tmp_path / "shards")
    return Store(tmp_path / "store"), shards.inspect(path), tmp_path / "shards" / "images-000000.tar"


@pytest.fixture
def whole_reads(monkeypatch):
    """The names of the shards that were read from end to end."""
    found, read = [], shards.samples.read

    def counted(opened, *arguments, **options):
        found.append(arguments[0])
        return read(opened, *arguments, **options)

    monkeypatch.setattr(shards.samples, "read", counted)
    return found


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_unit_reads_its_own_images_alone(one, whole_reads):
    store, shard, _ = one
    expected = shards.read(shard, {2, 5})
    whole_reads.clear()
    assert reading.samples(store, shard, {2, 5}) == expected and not whole_reads
    assert store.entry("shards/images-000000.json") is None, "the one beside the shard suffices"


def test_without_a_listing_the_first_unit_makes_one(one, whole_reads):
    store, shard, path = one
    path.with_name(path.name + listings.ENDING).unlink()
    expected = shards.read(shard, {2, 5})
    whole_reads.clear()
    for times in (1, 1, 1):
        assert reading.samples(store, shard, {2, 5}) == expected and len(whole_reads) == times
    kept = store.read("shards/images-000000.json")
    store.replace("shards/images-000000.json", kept.replace(b"image2", b"image3", 1))
    assert reading.samples(store, shard, {2, 5}) == expected and len(whole_reads) == 2, "it was damaged"
    assert store.read("shards/images-000000.json") == kept


@pytest.mark.parametrize("beside", [True, False])
def test_a_bit_of_an_image_that_a_unit_uses_is_noticed_and_of_another_only_by_who_reads_all(one, beside):
    store, shard, path = one
    if not beside:
        path.with_name(path.name + listings.ENDING).unlink()
    reading.samples(store, shard, {2})
    samples = {sample.key: sample for sample in shards.listed(shard)}
    expected, (begin, size) = shards.read(shard, {2}), samples["image5"].at
    flip(path, begin + size // 2)
    assert reading.samples(store, shard, {2}) == expected
    with pytest.raises(ShardUnusable, match="has SHA-256"):
        reading.samples(store, shard, {2, 5})
    with pytest.raises(ShardUnusable, match="has SHA-256"):
        shards.read(shard, {2})


def test_a_listing_beside_the_shard_that_was_changed_since_decides_nothing(one, whole_reads):
    """Whoever can write there could else give images other labels, and no hash of a shard would tell."""
    store, shard, path = one
    beside, expected = path.with_name(path.name + listings.ENDING), shards.read(shard, {2, 5})
    beside.write_bytes(beside.read_bytes().replace(b'"image2", 2', b'"image2", 7'))
    whole_reads.clear()
    assert reading.samples(store, shard, {2, 5}) == expected and len(whole_reads) == 1


def test_a_listing_of_another_shard_is_none_of_this(one, tmp_path):
    store, shard, path = one
    (tmp_path / "more.png").write_bytes(tiny.picture(9))
    (other,) = pack([(tmp_path / "more.png", 3)], tmp_path / "other")
    foreign = shards.listing_beside(shards.inspect(other))
    assert shards.read_listed(shard, foreign, {0}) is None
    path.unlink()
    with pytest.raises(ShardUnusable, match="it is not there"):
        reading.samples(store, shard, {0})


def test_rows_are_the_same_with_a_listing_beside_the_shard_in_the_store_and_without(tmp_path, monkeypatch):
    folder = tiny.packed(tmp_path)
    first, _ = ran(tiny.campaign(f"{folder}/{tiny.SHARDS}"), tmp_path / "beside")
    assert not list(Disk(tmp_path / "beside").names("shards"))
    for listing in folder.glob(f"*{listings.ENDING}"):
        listing.unlink()
    second, _ = ran(tiny.campaign(f"{folder}/{tiny.SHARDS}"), tmp_path / "kept")
    assert list(Disk(tmp_path / "kept").names("shards")) == ["shards/photos-000000.json"], "units take the other one whole"
    monkeypatch.setattr(reading, "samples", lambda store, shard, wanted: shards.read(shard, wanted))
    third, _ = ran(tiny.campaign(f"{folder}/{tiny.SHARDS}"), tmp_path / "whole")
    assert rows(first.store) == rows(second.store) == rows(third.store)
    assert list(verify(opened(first.store))) == [] and opened(first.store).shards == first.shards


@pytest.mark.parametrize(
    "place",
    [(-5, 100), (-1, 1), (1536, 10**15), (10**30, 5), (1536, -3), (0, 10**30), (float("inf"), 5), (1.5, 5), ("a", 5), ([1], 5)],
)
def test_a_place_that_no_image_can_have_decides_nothing(one, place):
    """Whether it was flipped, or another wrote it with a hash that is right."""
    store, shard, path = one
    expected = shards.read(shard, {1, 2})
    content = json.loads(path.with_name(path.name + listings.ENDING).read_bytes())
    content["samples"][2][4:6] = place
    path.with_name(path.name + listings.ENDING).write_bytes(data := json.dumps(content).encode())
    assert reading.samples(store, replace(shard, listing=hashlib.sha256(data).hexdigest()), {1, 2}) == expected
    store.replace("shards/images-000000.json", formats.to_json(content))
    assert reading.samples(store, replace(shard, listing=None), {1, 2}) == expected


@pytest.fixture
def plain_server(one):
    """The URL of a web server that knows no ranges."""
    folder = one[2].parent

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_small_shard_of_a_server_without_ranges_is_read_whole(one, plain_server, whole_reads):
    store, shard, path = one
    expected = shards.read(shard, {2, 5})
    remote = shards.inspect(f"{plain_server}/{path.name}")
    whole_reads.clear()
    assert remote.listing and reading.samples(store, remote, {2, 5}) == expected and len(whole_reads) == 1


def test_a_listing_that_is_forbidden_costs_no_images(s3, one):
    store, shard, path = one
    bucket = urls.at(f"{s3.url}/val")
    for file in path.parent.glob("i*"):
        bucket.replace(file.name, file.read_bytes())
    remote, expected = shards.inspect(f"{s3.url}/val/{path.name}"), shards.read(shard, {2, 5})
    s3.proxy.fault = lambda request: "403" if request.path.endswith(listings.ENDING) else None
    assert reading.samples(store, remote, {2, 5}) == expected


def test_a_shard_in_a_bucket_that_was_cut_off_since_is_called_so_whether_or_not_it_has_a_listing(s3, one):
    store, _, path = one
    bucket = urls.at(f"{s3.url}/val")
    for file in path.parent.glob("i*"):
        bucket.replace(file.name, file.read_bytes())
    remote = shards.inspect(f"{s3.url}/val/{path.name}")
    bucket.replace(path.name, path.read_bytes()[:3000])
    with pytest.raises(ShardUnusable) as whole:
        shards.read(remote, {7})
    with pytest.raises(ShardUnusable) as listed:
        reading.samples(store, remote, {7})
    assert str(listed.value) == str(whole.value)


def test_of_a_bucket_few_bytes_are_read_besides_those_of_the_images(s3, one):
    store, shard, path = one
    bucket = urls.at(f"{s3.url}/val")
    for file in path.parent.glob("i*"):
        bucket.replace(file.name, file.read_bytes())
    remote = shards.inspect(f"{s3.url}/val/{path.name}")
    s3.proxy.heard.clear()
    found = reading.samples(store, remote, {1, 2, 6})
    assert found == shards.read(shard, {1, 2, 6})
    asked = [request for request, _ in s3.proxy.heard if request.path.endswith(".tar")]
    spans = [request.headers["range"].removeprefix("bytes=").split("-") for request in asked]
    used = sum(len(sample.image) for sample in found)
    assert used <= sum(int(end) - int(begin) + 1 for begin, end in spans) <= max(1.2 * used, used + 2 * listings.NEAR)
    assert len(asked) <= 2
