"""Each way of spoiling a store must be named by `verify`."""

import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from pipeline import provenance
from pipeline.campaigns.attempt import image_rows
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.rejudge import chosen
from pipeline.campaigns.verification.verify import _example, verify
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data import shards as shard_images
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.store import schema
from pipeline.store.layout import Store
from pipeline.store.sealed import seal
from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.stores import release01


@pytest.fixture(scope="module")
def sound(finished):
    """Return the job of a finished store."""
    found = opened(str(finished()))
    assert list(verify(found)) == []
    return found


@pytest.fixture
def job(sound, copied, shards):
    """Return this job over copies of its store and its shards."""
    moved = {name: replace(shard, url=str(shards / f"{name}.tar")) for name, shard in sound.shards.items()}
    return replace(sound, store=str(copied()), shards=moved)


def listed(job, pattern):
    return [Path(job.store) / entry.name for entry in Store(job.store).list(pattern)]


def first(job):
    return listed(job, "results/*.parquet")[0]


def rewrite(job, change):
    path = first(job)
    table = pq.ParquetFile(path).read()
    found = table.to_pylist()
    change(found)
    path.write_bytes(schema.encode(found, {}))


def faults(job):
    """What verify says, also where it can not go on."""
    try:
        return "\n".join(verify(job))
    except BadInput as error:
        return str(error)


def test_a_missing_unit(job):
    first(job).unlink()
    assert any("planned, but not done" in fault for fault in verify(job))


def test_a_unit_that_nobody_planned(job):
    shutil.copy(first(job), first(job).with_name("stranger.parquet"))
    assert any("stranger: no such unit" in fault for fault in verify(job))


def test_a_row_twice(job):
    rewrite(job, lambda found: found.append(dict(found[0])))
    assert any("rows, expected one for each image of its unit: remove it" in fault for fault in verify(job))


def test_a_row_in_the_place_of_another(job):
    """As many rows as images, and one of them twice."""
    rewrite(job, lambda found: found.__setitem__(1, dict(found[0])))
    assert any("not those of the shard" in f for f in verify(job)) and any("2 rows" in f for f in verify(job))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", 9, "the shard says"),
        ("linf", 0.2, "outside eps"),
        ("adv_correct", 77, "follows from adv_top5"),
        ("clean_top5_correct", 77, "follows from clean_top5"),
        ("clean_mean_top5", [9, 8, 7, 6, 5], "but clean_mean_top5 begins with 9"),
        ("clean_mean_top5", None, "expected five classes"),
        ("evaluation_draws", 1000, "the cell is judged by"),
        ("campaign", "0" * 16, "another campaign"),
        ("clean_top5", [[1, 2, 3, 4, 5]], "shape"),
    ],
)
def test_a_changed_value(job, column, value, said):
    rewrite(job, lambda found: found[0].update({column: value}))
    assert any(said in fault for fault in verify(job))


def test_a_parquet_file_of_another_program(job):
    first(job).write_bytes(b"PAR1 nonsense")
    assert any("no whole Parquet file" in fault for fault in verify(job))


@pytest.mark.parametrize("kind", ["unit", "sealed", "compacted"])
def test_bits_that_changed_on_a_disk_never_become_rows(job, kind):
    """Of all 8-bit errors tried, each is refused with the file's name, by readers and by `verify`, or changes no value."""
    rewrite(job, lambda found: [row.update(seconds=1.0) for row in found])  # or no two runs try the same
    path = first(job)
    if kind == "compacted":
        path = release01.compacted(job.store, "net-bart2-pgd")
    elif kind == "sealed":
        path = Path(job.store) / seal(Store(job.store), "net-bart2-pgd").name
    whole, sound, chance, refused = path.read_bytes(), decided(job.store), random.Random(0), 0
    for _ in range(60):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ chance.randrange(1, 256)]) + whole[place + 1 :])
        try:
            assert decided(job.store) == sound, f"byte {place} changed, and so did rows"
        except BadInput as error:
            refused += 1
            assert str(path) in str(error)
            if refused % 10 == 1:
                assert path.name in faults(job)
    assert refused >= 20


def test_a_shard_that_changed(job):
    shard = next(iter(job.shards.values()))
    with open(shard.url, "r+b") as file:
        file.seek(700)
        file.write(b"x")
    damaged = next(path for path in listed(job, "results/*.parquet") if shard.name in path.name)
    damaged.write_bytes(b"PAR1 nonsense")
    found = list(verify(job))
    assert (
        len(found) == 2 and "SHA-256" in found[0] and found[1].startswith(f"{damaged.stem}: {damaged} is no whole Parquet file")
    )


def spoil_examples(job, change):
    """Changes the stored examples of one unit behind the barrage, by change(image, clean), both (h, w, 3); gives its name."""
    store, unit = Store(job.store), next(unit for unit in job.units() if unit.cell == "net-bart2-pgd")
    samples = shard_images.read(job.shards[unit.shard], job.places(unit))
    pictures = image_rows.pictures(store.read(store.adversarial(unit)))
    changed = [
        change(pictures[s.key].transpose(1, 2, 0), shard_images.decode(s.image, None, 32).transpose(1, 2, 0)) for s in samples
    ]
    stacked = torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2)
    store.replace(store.adversarial(unit), image_rows.examples(samples, stacked))
    return unit.name


def test_an_example_outside_the_ball(job):
    def far(image, clean):
        image = image.copy()
        image[0, 0] ^= 128
        return image

    spoil_examples(job, far)
    assert any("away, eps" in fault for fault in verify(job))


@pytest.mark.parametrize(("attack", "unit"), [({"kind": "apgd", "norm": "l1"}, 1 / 255), ({"kind": "sigma_zero"}, 1)])
def test_an_example_outside_a_ball_of_few_changes(attack, unit, pattern):
    """Three values are one level off, as the row says: that is inside a ball of three, and outside one of two."""
    picture = np.full((3, 4, 4), 100, dtype=np.uint8)
    stored = picture.copy()
    stored[0, 0, :3] += 1
    row = {"linf": 1 / 255, "l2": 3**0.5 / 255}
    for radius, outside in ((3, False), (2, True)):
        content = tiny.campaign(pattern, attacks={"pgd": attack | {"eps": radius * unit}})
        cell = next(parse(content, "c").grid())
        assert bool(list(_example(stored, row, picture, cell))) == outside


def test_examples_that_are_lost(job):
    listed(job, "adversarial/cell=*/*.tar")[0].unlink()
    assert any("examples are missing or damaged" in fault for fault in verify(job))


def test_a_row_that_moved_to_another_unit(job):
    files = listed(job, "results/net-bart2-pgd--*.parquet")
    source, target = (pq.ParquetFile(path).read().to_pylist() for path in files[:2])
    files[0].write_bytes(schema.encode(source[1:], {}))
    files[1].write_bytes(schema.encode([*target, source[0]], {}))
    found = list(verify(job))
    assert sum("expected one for each image of its unit" in fault or "holds rows of the unit" in fault for fault in found) == 2


def test_an_image_that_is_hushed_up(job):
    rewrite(job, lambda found: found[0].update(status="bad_image", error="made up"))
    assert any("status bad_image, but the image can be attacked" in fault for fault in verify(job))


def other_network(like=tiny.network):
    """Of the same shape as the tests' own, with other weights."""
    network = like()
    torch.nn.init.normal_(network[0].weight, generator=torch.Generator().manual_seed(9))
    return network


def test_other_weights_behind_the_same_name_are_judged_otherwise(job, monkeypatch):
    assert list(verify(job, sample=16)) == []
    monkeypatch.setattr(tiny, "network", other_network)
    assert list(verify(job)) == [], "nothing is built without a sample"
    said = list(verify(job, sample=16))
    assert len(said) == len(job.cells) and all("changed since the campaign was made" in fault for fault in said)
    campaign = job.campaign.model_copy(update={"models": {
        name: model.model_copy(update={"contents_sha256": None}) for name, model in job.campaign.models.items()
    }})  # fmt: skip
    without = replace(job, campaign=campaign)
    assert any("judged again" in fault for fault in verify(without, sample=16)), "of a store that has no hash"


def test_another_weights_file(tmp_path, pattern):
    weights = tmp_path / "net.safetensors"
    save_file(tiny.network().state_dict(), weights)
    content = tiny.campaign(pattern)
    content["models"]["net"]["weights"] = str(weights)
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    job = opened(job.store)
    assert list(verify(job, sample=4)) == []
    save_file(other_network().state_dict(), weights)
    faults = list(verify(job, sample=4))
    assert faults and all("SHA-256" in fault for fault in faults)


def test_an_example_of_the_same_size_in_its_place(job):
    """In the ball, as far away in both norms: only its verdict tells."""
    spoilt = spoil_examples(job, lambda image, clean: (2 * clean.astype(int) - image).clip(0, 255).astype(np.uint8))
    faults = list(verify(job, sample=1000))
    assert any("judged again" in fault and "adv_top5" in fault for fault in faults), faults
    assert all(name in spoilt for name in {fault.partition(":")[0].partition(", ")[0] for fault in faults})


def test_two_examples_that_changed_places(job):
    seen = []

    def swap(image, clean):
        seen.append(image)
        return seen[-2] if len(seen) == 2 else image

    spoil_examples(job, swap)
    assert any("away, eps" in fault for fault in verify(job))


def test_a_row_that_says_otherwise_than_its_lists_what_its_draws_are_right_in(job):
    path = first(job)
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("adv_right")
    turned = pc.bit_wise_xor(table["adv_right"], pa.scalar(4, pa.int32()))
    pq.write_table(table.set_column(place, table.schema.field(place), turned), path, write_page_checksum=True)
    attacked = pc.sum(pc.equal(table["status"], "ok")).as_py()
    faults = list(verify(job))
    assert len(faults) == attacked > 0 and all(path.stem in fault and "adv_right is" in fault for fault in faults)


def test_classes_that_were_made_up_with_all_that_follows_from_them(job):
    def lie(found):
        row = found[0]
        row["adv_top5"] = [[(c + 1) % tiny.CLASSES for c in five] for five in row["adv_top5"]]
        row["adv_correct"] = sum(five[0] == row["label"] for five in row["adv_top5"])
        row["adv_top5_correct"] = sum(row["label"] in five for five in row["adv_top5"])

    rewrite(job, lie)
    assert list(verify(job)) == [] and any("judged again" in fault for fault in verify(job, sample=16))


@pytest.mark.parametrize(("changed", "caught"), [(0, False), (1, False), (2, True)])
def test_other_machines_may_differ_in_a_few_first_classes_and_no_more(copied, changed, caught):
    """5 of 6 evaluation draws, and any of the other ranks."""
    job = opened(str(copied(evaluation_draws=6)))

    def elsewhere(found):
        for row in found:
            row["device"] = "another"
            row["clean_top5"] = [[five[0], *five[:0:-1]] for five in row["clean_top5"]]
            for five in row["clean_top5"][:changed]:
                five[0], five[1] = five[1], five[0]
            row["clean_correct"] = sum(five[0] == row["label"] for five in row["clean_top5"])

    path = listed(job, "results/net-bart2-pgd--*.parquet")[0]
    found = pq.ParquetFile(path).read().to_pylist()
    elsewhere(found)
    path.write_bytes(schema.encode(found, {}))
    assert any("2 of 6 draws of clean_top5 give another first class" in f for f in verify(job, sample=1000)) is caught
    for row in found:
        row["device"] = provenance.device_name(torch.device("cpu"))
    path.write_bytes(schema.encode(found, {}))
    assert any("6 of 6 draws of clean_top5 give another list" in fault for fault in verify(job, sample=1000))


def test_the_sample_is_of_all_cells_alike_and_never_more_than_there_is(job):
    units = list(job.units())
    for images in (1, 2, 5, 8, 16):
        found = chosen(units, images, seed=0)
        cells = Counter(name.partition("--")[0] for name, places in found.items() for _ in places)
        assert cells.total() == images and set(cells) <= set(job.cells)
        assert abs(cells["net-none-pgd"] - cells["net-bart2-pgd"]) <= 1
        assert found == chosen(units, images, seed=0)
    every = chosen(units, 10**6, seed=0)
    assert {name: len(set(places)) for name, places in every.items()} == {unit.name: unit.images for unit in units}
    assert all(0 <= place < 3 for places in every.values() for place in places)


def test_a_sample_without_stored_examples_judges_the_clean_images(copied):
    job = opened(str(copied(save_adversarial=False)))
    assert list(verify(job, sample=16)) == []
    rewrite(job, lambda found: found[0].update(clean_top5=[[0, 1, 2, 3, 4]], clean_correct=1, clean_top5_correct=1))
    assert any("judged again" in fault for fault in verify(job, sample=16))


def test_images_of_damaged_shards_are_no_fault(tmp_path, shards):
    path = shards / "photos-000000.tar"
    path.write_bytes(path.read_bytes()[:9000])
    job = prepare(parse(tiny.campaign(str(shards / tiny.SHARDS)), "c.yaml"), str(tmp_path / "store"))
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert list(verify(job, sample=100)) == []


def test_every_fault_is_found_in_rows_that_release_01_compacted(job):
    rewrite(job, lambda found: found[0].update(adv_correct=77))
    path, _ = (release01.compacted(job.store, cell) for cell in job.cells)
    assert "follows from adv_top5" in faults(job)
    table = pq.ParquetFile(path).read()
    name = table["unit"][0].as_py()
    pq.write_table(table.filter(pc.not_equal(table["unit"], name)), path)
    assert f"{name}: planned, but not done" in faults(job)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    assert "its images are not those" in faults(job) and "2 rows" in faults(job)
    path.write_bytes(b"nonsense")
    assert f"{path} is no whole Parquet file" in faults(job) and "the only copy of its rows" in faults(job)


def test_damaged_examples_are_a_fault_and_no_crash(job):
    path = listed(job, "adversarial/cell=*/*.tar")[0]
    path.write_bytes(b"nonsense" * 200)
    assert any("missing or damaged" in fault for fault in verify(job, sample=16))
