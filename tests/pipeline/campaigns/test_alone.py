"""One bad image and its neighbours: it is a row with a reason, they are attacked as if it were not there."""

import threading

import pytest
import torch
from rich.console import Console

from pipeline.campaigns.attempt.unit import UnitAttempt
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.replay import find, replay
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker, attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data import shards
from pipeline.errors import BadInput, Drained
from pipeline.execution import LocalExecutor
from pipeline.store.layout import Store
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran, rows

NET = {
    "net": {"architecture": "tests.support.tiny:picky_network", "classes": tiny.CLASSES, "mean": [0, 0, 0], "std": [1, 1, 1]}
}


@pytest.fixture
def content(pattern):
    return tiny.campaign(pattern, models=NET, cells=[{"model": "net", "defense": "none", "attack": "pgd"}], unit_images=8)


@pytest.fixture
def refused(monkeypatch):
    def refuse(*numbers):
        pixels = [torch.from_numpy(shards.decode(tiny.picture(i), None, 32)).float() / 255 for i in numbers]
        monkeypatch.setattr(tiny, "REFUSED", pixels)

    return refuse


def test_one_bad_image_is_a_row_and_its_neighbours_are_those_of_a_quiet_run(tmp_path, content, refused):
    ran(content, tmp_path / "quiet")
    refused(4)
    job, outcome = ran(content, tmp_path / "store")
    quiet, found = rows(tmp_path / "quiet", ROUNDED), rows(tmp_path / "store", ROUNDED)
    bad = found.pop(("net-none-pgd", "image4"))
    assert (bad["status"], bad["error"]) == ("failed", "RuntimeError: ... is not what I like")
    assert found == {key: row for key, row in quiet.items() if key[1] != "image4"}
    assert outcome.failed_images == 1 and outcome.exit_code == 1 and not outcome.failed_units
    assert list(verify(job)) == []
    (row,) = find(job.store, "image4")
    assert replay(job, row, torch.device("cpu")).differences == ()
    refused()
    now = replay(job, row, torch.device("cpu"))
    assert {d.column for d in now.differences} >= {"status", "error", "adv_correct"}


def test_a_fault_that_all_images_share_is_the_units_and_not_theirs(tmp_path, content, refused):
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    refused(*range(8))  # only now: the first images of a new store are tried before the run
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    assert len(outcome.failed_units) == 2 and outcome.failed_images == 0 and not Store(job.store).done()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(28, "No space left on device"),
        FileNotFoundError(2, "No such file or directory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_image_is_lost_for_want_of_memory_or_what_the_system_refused(tmp_path, content, monkeypatch, error):
    """The next try of the unit, on a machine that has room, gives the rows of a quiet run."""
    judged, refusals = UnitAttempt._judged, [error] * 2  # with its neighbours, and alone

    def short(self, attacked, *rest):
        if refusals and any(sample.key == "image1" for sample in attacked.samples):
            raise refusals.pop()
        return judged(self, attacked, *rest)

    ran(content, tmp_path / "quiet")
    monkeypatch.setattr(UnitAttempt, "_judged", short)
    job, outcome = ran(content, tmp_path / "store")
    assert not refusals and outcome.exit_code == 0
    assert rows(job.store, ROUNDED) == rows(tmp_path / "quiet", ROUNDED)


def test_an_error_of_a_decoder_inside_a_defense_is_the_images(tmp_path, content, monkeypatch):
    """Pillow raises OSError without a number."""
    judged = UnitAttempt._judged

    def picky(self, attacked, *rest):
        if any(sample.key == "image1" for sample in attacked.samples):
            raise OSError("broken data stream when reading image file")
        return judged(self, attacked, *rest)

    monkeypatch.setattr(UnitAttempt, "_judged", picky)
    _, outcome = ran(content, tmp_path / "store")
    assert outcome.failed_images == 1 and not outcome.failed_units


def test_an_image_that_fails_when_it_is_judged_is_lost_alone_and_examples_stay_as_they_were_stored(
    tmp_path, content, monkeypatch
):
    judged = UnitAttempt._judged

    def picky(self, attacked, *rest):
        if any(sample.key == "image1" for sample in attacked.samples):
            raise ZeroDivisionError
        return judged(self, attacked, *rest)

    ran(content, tmp_path / "quiet")
    monkeypatch.setattr(UnitAttempt, "_judged", picky)
    job, outcome = ran(content, tmp_path / "store")
    found = rows(job.store)
    assert found["net-none-pgd", "image1"]["error"] == "ZeroDivisionError: ZeroDivisionError" and outcome.failed_images == 1
    one, other = (Store(str(tmp_path / name)) for name in ("quiet", "store"))
    (unit, _) = sorted(job.units(), key=lambda unit: unit.name)
    assert one.read(one.adversarial(unit)) == other.read(other.adversarial(unit))


def test_images_alone_leave_the_units_checkpoint_alone(tmp_path, content, refused):
    """A state of one image must never be taken for that of another."""
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    job.write_down()
    refused(0)
    drain = threading.Event()
    worker, unit = Worker(job, torch.device("cpu"), drain), next(job.units())
    with pytest.raises(Drained):
        for number, _ in enumerate(worker.attack(unit)):
            if number == 3:
                drain.set()
    assert list(Store(job.store).list("checkpoints/*")) == []


def test_a_label_that_the_model_has_no_class_for_is_a_row(tmp_path, content):
    """An index from outside may hide it from the check before the run."""
    content = content | {"models": {"net": NET["net"] | {"classes": 10}}}
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    few = {"net": NET["net"] | {"classes": 4, "architecture": "tests.support.tiny:network"}}
    with pytest.raises(BadInput, match="holds the label 4, model net has the classes 0 to 3"):
        prepare(parse(content | {"models": few}, "c.yaml"), str(tmp_path / "other"))
    from pipeline.campaigns.attempt.image_rows import decoded

    cell, unit = next(iter(job.cells.values())), next(job.units() if job.cuts else job.with_cuts({}).units())
    sample = shards.read(job.shards[unit.shard], [4])[0]
    narrow = cell.model_copy(update={"model": cell.model.model_copy(update={"classes": 4})})
    found, image = decoded(sample, narrow)
    assert image is None and (found.status, found.error) == ("bad_label", "class 4, but the model has 0 to 3")
