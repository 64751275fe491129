"""The fuzz of benchmarks: no mutant changes a row unseen, and a fault of the reader is found."""

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import KINDS, Kind, run


@pytest.mark.parametrize("name", KINDS)
def test_mutants_are_refused_or_change_nothing(name):
    assert {said for _, said in run(name, 25, 1)} <= {"refused", "as before"}


def test_the_same_number_is_the_same_mutant():
    assert list(run("plan", 8, 5)) == list(run("plan", 8, 5))


def spin():
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda folder: (folder / "x").read_bytes(), "FAULT: rows changed unseen"),
        (lambda folder: (folder / "x").read_bytes() == b"sound" or 1 / 0, "ZeroDivisionError"),
        (lambda folder: (folder / "x").read_bytes() == b"sound" or spin(), "FAULT: hangs, more than 1 s"),
    ],
)
def test_a_reader_that_breaks_its_word_is_named(read, said, monkeypatch):
    monkeypatch.setitem(KINDS, "bad", Kind(lambda folder: (folder / "x").write_bytes(b"sound") and None, ("x",), read))
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    found = dict(run("bad", 2, 1))
    assert all(said in verdict for verdict in found.values())
