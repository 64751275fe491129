"""Formats: every stored file has a number, what release 0.1 wrote is read and resumed, what a later one wrote is refused."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from pipeline.campaigns import stop_rule
from pipeline.campaigns.job import opened
from pipeline.campaigns.parking import park, parked
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.replay import COMPARED, replay
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.config.campaign import parse
from pipeline.errors import BadInput, Drained
from pipeline.execution import Failed, LocalExecutor
from pipeline.execution.queue import FailedAttempt
from pipeline.status import interim_checks
from pipeline.status.interim_checks import InterimCheck
from pipeline.status.summary import Reader
from pipeline.store import checkpoints, formats, schema
from pipeline.store.formats import FORMAT, RELEASES, StoreWarning
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support.campaigns import in_order
from tests.support.reporters import KeptLines
from tests.support.stores import release01

CELL = "net-bart2-pgd"
SHIPPED = sorted((Path(__file__).parents[3] / "docs" / "results").glob("*/campaign.yaml"))
NEWER = {"format": FORMAT + 1, "release": "9.9"}
REFUSED = (
    rf"has format {FORMAT + 1}, expected one of 1, {FORMAT} \(this is release .*\): read it with barrage 9\.9, or a later one"
)


def checkpointed(job, place=0):
    """Leave a checkpoint of a unit that was drained."""
    unit = list(job.units())[place]
    Store(job.store).remove(Store(job.store).results(unit))
    worker = Worker(job, torch.device("cpu"), threading.Event())
    worker.drain.set()
    with pytest.raises(Drained):
        list(worker.attack(unit))
    return Store(job.store).checkpoint(unit)


def parked_unit(job):
    unit = next(iter(job.units()))
    park(Store(job.store), Failed(unit, "no luck", True, attempts=(FailedAttempt("w", "h", "now", "RuntimeError: no luck"),)))
    return f"parked/{unit.name}.json"


def looked(job):
    stop_rule.write(Store(job.store), InterimCheck(cell=CELL, round=0, rounds=2, rate=None))
    return f"looks/{CELL}/00.json"


def test_every_file_that_is_written_has_its_format(store, folder):
    job, stamp = opened(store.url), formats.stamp()
    assert stamp == {"format": FORMAT, "release": RELEASES[FORMAT]}

    def is_stamped(content):
        return {key: content[key] for key in stamp} == stamp

    assert is_stamped(yaml.safe_load((folder / "campaign.yaml").read_text()))
    names = [f"units/{CELL}.json", parked_unit(job), looked(job)]
    assert all(is_stamped(json.loads((folder / name).read_text())) for name in names)
    assert is_stamped(schema.provenance(pq.read_schema(next(folder.glob("results/*.parquet")))))
    data = (folder / checkpointed(job)).read_bytes()
    size = int.from_bytes(data[:8], "little")
    assert is_stamped(json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["header"]))


def rewrite_json(path, **about):
    path.write_text(json.dumps(about | json.loads(path.read_text()) | about))


@pytest.mark.parametrize("kind", ["campaign.yaml", "units", "looks", "parked", "results", "checkpoints"])
def test_a_later_format_is_refused_in_one_line_that_names_file_format_and_release(store, folder, kind, barrage):
    job = opened(store.url)
    reading: Callable[[], Any]
    if kind == "campaign.yaml":
        path = folder / kind
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | NEWER))
        with pytest.raises(BadInput, match=REFUSED):
            opened(store.url)
        reading = lambda: Reader(store.url).status()  # noqa: E731
    elif kind == "units":
        path = folder / f"units/{CELL}.json"
        rewrite_json(path, **NEWER)
        reading = lambda: opened(store.url)  # noqa: E731
    elif kind == "looks":
        path = folder / looked(job)
        rewrite_json(path, **NEWER)
        reading = lambda: interim_checks.read(store, CELL, [0])  # noqa: E731
    elif kind == "parked":
        path = folder / parked_unit(job)
        rewrite_json(path, **NEWER)
        reading = lambda: Reader(store.url).status()  # noqa: E731
    elif kind == "results":
        path = sorted(folder.glob(f"results/{CELL}--*.parquet"))[3]
        release01.rewritten(path, **NEWER)
        reading = lambda: results(store.url, ["cell"])  # noqa: E731
        assert any(path.name in fault and "format 3" in fault for fault in verify(job))
    else:
        name = checkpointed(job)
        path = folder / name
        data = path.read_bytes()
        header, tensors = checkpoints.header(data, name), checkpoints.decode(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(formats, "stamp", lambda: NEWER)
            path.write_bytes(bytes(checkpoints.encode(header, tensors)))
        unit = next(iter(job.units()))
        reading = lambda: list(Worker(job, torch.device("cpu"), threading.Event()).attack(unit))  # noqa: E731
    with pytest.raises(BadInput, match=REFUSED) as refused:
        reading()
    assert str(refused.value).startswith(str(path.relative_to(folder))) or str(refused.value).startswith(str(path))
    if kind != "looks":  # which only a campaign with a stop rule reads
        command = {"checkpoints": "status", "parked": "status"}.get(kind, "table")
        code, _, err = barrage(command, folder)
        assert code == 2 and re.search(REFUSED, err) and len(err.strip().splitlines()) == 1


def test_a_store_of_release_01_is_read_verified_and_resumed(store, folder, before):
    release01.aged(folder)
    assert in_order(store.url) == before and Reader(store.url).status().complete
    job = opened(store.url)
    assert list(verify(job, sample=2)) == []
    for path in sorted(folder.glob(f"results/cell={CELL}/*.parquet"))[:2]:
        path.unlink()
    campaign = yaml.safe_load((folder / "campaign.yaml").read_text())["campaign"]
    resumed = prepare(parse(campaign, "c.yaml"), store.url)
    assert run(resumed, LocalExecutor(attacking), KeptLines()).exit_code == 0
    numbers = [schema.provenance(pq.read_schema(path)).get("format") for path in _by_name(folder)]
    assert numbers == [2, 2, *[None] * 6]
    assert yaml.safe_load((folder / "campaign.yaml").read_text())["format"] == 2
    assert [_decided(row) for row in in_order(store.url)] == [_decided(row) for row in before]
    assert list(verify(opened(store.url))) == []


def test_a_campaign_of_other_cells_is_refused_by_a_store_of_release_01(store, folder):
    release01.aged(folder)
    campaign = yaml.safe_load((folder / "campaign.yaml").read_text())["campaign"]
    campaign["attacks"]["pgd"]["steps"] = 2
    with pytest.raises(BadInput, match="is of another campaign: in cell .*steps was 1, is 2"):
        prepare(parse(campaign, "c.yaml"), store.url)


def test_a_checkpoint_of_release_01_goes_on(store, folder, before):
    job = opened(store.url)
    name = checkpointed(job)
    release01.aged(folder)
    head = checkpoints.header((folder / name).read_bytes(), name)
    assert head.commit == "" and head.step == 1
    unit = name.removeprefix("checkpoints/").removesuffix(".safetensors")
    assert run(job, LocalExecutor(attacking), KeptLines()).exit_code == 0
    wanted = [row | {"gradient_norm": None} if row["unit"] == unit else row for row in before]  # not of all its steps
    assert wanted != before and [_decided(row) for row in in_order(store.url)] == [_decided(row) for row in wanted]
    resumed = next(row for row in in_order(store.url) if row["unit"] == unit)
    assert not replay(job, resumed, torch.device("cpu")).differences


def _by_name(folder):
    return sorted(folder.glob(f"results/**/{CELL}--*.parquet"), key=lambda path: path.name)


def _decided(row):
    return {name: value for name, value in row.items() if name not in schema.MEASURED}


def test_a_column_that_an_earlier_format_lacks_is_null(store, folder, before):
    paths = sorted(folder.glob(f"results/{CELL}--*.parquet"))
    release01.rewritten(paths[0], lambda table: table.drop_columns(["zero_gradients", "networks", "commit"]))
    (key,) = pq.read_table(paths[0], columns=["image_key"], partitioning=None)["image_key"].to_pylist()
    empty = {"zero_gradients": None, "networks": None, "commit": None}
    wanted = [row | empty if (row["cell"], row["image_key"]) == (CELL, key) else row for row in before]
    assert in_order(store.url) == wanted
    found = results(store.url, ["commit", "cell", "zero_gradients"])
    assert found.column_names == ["commit", "cell", "zero_gradients"] and found["zero_gradients"].null_count == 1
    assert list(verify(opened(store.url))) == [] and Reader(store.url).status().complete
    assert store.done() == {path.stem for path in folder.glob("results/*.parquet")}


def test_a_file_of_the_present_format_that_lacks_a_column_is_a_fault(store, folder):
    path = sorted(folder.glob(f"results/{CELL}--*.parquet"))[0]
    release01.rewritten(path, lambda table: table.drop_columns(["zero_gradients"]), format=2, release="0.2")
    (fault,) = verify(opened(store.url))
    assert f"{path} lacks columns of format 2, in which it was written: zero_gradients" in fault


def test_a_file_of_the_present_format_may_lack_the_columns_that_came_within_it(store, folder, before):
    for path in folder.glob("results/*.parquet"):
        release01.rewritten(path, lambda table: table.drop_columns(sorted(schema.LATEST)), format=2, release="0.2")
    assert list(verify(opened(store.url))) == []
    assert in_order(store.url) == [row | dict.fromkeys(schema.LATEST) for row in before]
    found = replay(opened(store.url), in_order(store.url)[-1], torch.device("cpu"))
    assert not found.differences and found.compared == len(COMPARED) - 3


@pytest.mark.parametrize("about", [{}, {"format": 2, "release": "0.2"}], ids=["format 1", "format 2"])
def test_an_unknown_column_is_ignored_with_a_warning_unless_the_format_is_later(store, folder, before, about, barrage):
    path = sorted(folder.glob(f"results/{CELL}--*.parquet"))[0]
    release01.rewritten(path, lambda table: table.append_column("mood", pa.array(["good"] * len(table))), **about)
    with pytest.warns(StoreWarning, match="columns that this release does not know, which are ignored: mood"):
        assert in_order(store.url) == before
    code, _, err = barrage("table", folder)
    assert code == 0 and len([line for line in err.splitlines() if line.startswith("warning: ") and "mood" in line]) == 1
    release01.rewritten(path, **NEWER)
    with pytest.raises(BadInput, match=REFUSED):
        in_order(store.url)


def test_a_file_of_an_earlier_release_may_lack_later_columns_and_hold_one_of_another(store, folder):
    path = sorted(folder.glob(f"results/{CELL}--*.parquet"))[0]
    release01.rewritten(path, lambda t: t.drop_columns(sorted(schema.LATER)).append_column("mood", pa.array(["good"] * len(t))))
    with pytest.warns(StoreWarning, match="which are ignored: mood"):
        assert {row["certified_radius"] for row in in_order(store.url)} == {None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop_columns(["adv_correct"]), "lacks the column adv_correct, which format 1 has"),
        (lambda t: t.rename_columns([n.replace("zero_", "null_") for n in t.column_names]), "lacks the column zero_gradients"),
        (
            lambda t: t.set_column(t.schema.get_field_index("k"), "k", t["k"].cast(pa.float32())),
            "has float in the column k, expected int32 in format 1, which release 0.1 wrote",
        ),
    ],
)
def test_columns_of_another_program_are_refused(store, folder, change, said):
    path = sorted(folder.glob(f"results/{CELL}--*.parquet"))[0]
    release01.rewritten(path, change)
    with pytest.raises(BadInput, match=said) as refused:
        results(store.url)
    assert str(path) in str(refused.value)
    (fault,) = verify(opened(store.url))
    assert said in fault


def test_a_parked_unit_of_either_format_is_shown(store, folder):
    job = opened(store.url)
    name = parked_unit(job)
    store.remove(store.results(next(iter(job.units()))))
    for _ in range(2):
        assert [unit.error for unit in Reader(store.url).status().parked] == ["RuntimeError: no luck"]
        assert parked(store) == {name.removeprefix("parked/").removesuffix(".json")}
        release01.aged(folder)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_results_that_ship_name_no_folder_of_a_machine(path):
    """Whoever has the data beside the repository can judge their rows again."""
    shards = yaml.safe_load(path.read_text())["shards"]
    assert shards and all(shard["url"].startswith("../shared/data/") for shard in shards)
