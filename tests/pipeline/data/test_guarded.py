"""An image at which a decoder crashes, spins or grows costs itself, and no neighbour."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.config.framing import Framing
from pipeline.data import decoding, guarded
from pipeline.data.guarded import Guard
from pipeline.execution import LocalExecutor
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.odd.pictures import PICTURES, SIDE
from tests.support.odd.shards import pair, tar

PICKY = "tests.support.odd.picky_decoder"


@pytest.mark.parametrize("name", PICTURES)
def test_a_guard_gives_what_decoding_gives(name):
    def given(decode):
        try:
            return decode(PICTURES[name].data, SIDE + 9, SIDE, Framing("bilinear", "squash", "torchvision"), True)
        except ValueError as error:
            return str(error)

    assert np.array_equal(given(guarded.decode), given(decoding.decode))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (b"crash", "decoder crashed: SIGSEGV"), (b"abort", "decoder crashed: SIGABRT"), (b"grow", "takes more than 2 GB"),
        (b"spin", "takes more than 1 s"), (b"print", "is done"), (b"odd", "KeyError: <class 'object'>"), (b"", "no JPEG"),
    ],
)  # fmt: skip
def test_what_an_image_does_to_its_decoder_is_a_reason_that_is_the_same_twice(order, reason, monkeypatch):
    monkeypatch.setattr(guarded, "SECONDS", 1)
    guard = Guard(PICKY)
    for _ in range(2):
        with pytest.raises(ValueError, match=reason):
            guard.decode(order, None, 32)
        assert np.array_equal(guard.decode(tiny.picture(1), None, 32), decoding.decode(tiny.picture(1), None, 32))


def test_a_process_that_was_killed_from_outside_is_no_fault_of_the_image():
    guard = Guard(PICKY)
    with pytest.raises(RuntimeError, match="exit code -9, which no image causes: try again"):
        guard.decode(b"kill", None, 32)
    assert guard.decode(tiny.picture(1), None, 32).shape == (3, 32, 32)


def test_an_answer_that_was_not_waited_for_is_not_that_of_the_next_image():
    guard = Guard()
    guard.decode(tiny.picture(1), None, 32)
    guard._process.stdout = SimpleNamespace(read=lambda size: _interrupt())
    with pytest.raises(KeyboardInterrupt):
        guard.decode(tiny.picture(1), None, 32)
    assert np.array_equal(guard.decode(tiny.picture(2), None, 32), decoding.decode(tiny.picture(2), None, 32))


def _interrupt():
    raise KeyboardInterrupt


def test_the_process_outlives_the_signals_of_its_group_and_ends_with_its_parent():
    guard = Guard()
    guard.decode(tiny.picture(1), None, 32)
    process = guard._process
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)
    assert guard.decode(tiny.picture(2), None, 32).shape == (3, 32, 32) and guard._process is process
    process.stdin.close()
    assert process.wait(20) == 0


def test_only_the_culprit_of_a_unit_is_lost(tmp_path, monkeypatch):
    """Also where it is the first image, which is decoded before the run."""
    monkeypatch.setattr(guarded, "decode", Guard(PICKY).decode)
    (tmp_path / "x.tar").write_bytes(
        tar(("a.png", b"crash"), ("a.cls", b"1"), *pair("b", 2), ("c.png", b"abort"), ("c.cls", b"1"))
    )
    told = tiny.campaign(
        str(tmp_path / "x.tar"), defenses={"none": {"k": 0}}, cells=[{"model": "net", "defense": "none", "attack": "pgd"}]
    )
    job = prepare(parse(told, "c.yaml"), str(tmp_path / "store"))
    outcome = run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    rows = {row["image_key"]: (row["status"], row["error"]) for row in results(job.store).to_pylist()}
    assert outcome.failed_units == () and rows == {
        "a": ("bad_image", "its decoder crashed: SIGSEGV"), "b": ("ok", None),
        "c": ("bad_image", "its decoder crashed: SIGABRT"),
    }  # fmt: skip
