"""The fuzz of benchmarks: no mutant breaks barrage's word, and a reader that breaks it, dies, hangs or grows is found."""

import os
import signal
import time
from contextlib import suppress

import pytest

from benchmarks.fuzz import pool
from benchmarks.fuzz.kind import Kind
from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.pool import Piece, tried, verdicts
from pipeline.config import campaign
from pipeline.config.yaml_loader import plain
from pipeline.data import pictures, samples
from pipeline.data.pack import tables
from pipeline.errors import BadInput
from pipeline.store import rows

QUICK = {"image": 300, "shard": 100, "index": 80, "yaml": 50, "store": 15}
"""Mutants of each kind in the quick tests."""


def said(name, count, start=1):
    return [found.said for found in tried(Piece(name, start, start + count))]


@pytest.mark.parametrize("name", KINDS)
def test_no_mutant_breaks_the_word(name):
    assert [fault for fault in said(name, QUICK[name]) if fault.startswith("FAULT")] == []


@pytest.mark.slow  # about half a minute
def test_no_mutant_of_five_hundred_of_each_kind_breaks_the_word_in_a_process_of_its_own():
    found = list(verdicts([Piece(name, at, at + 250) for name in KINDS for at in (1000, 1250)], 2))
    assert len(found) == 500 * len(KINDS) and max(each.memory for each in found) < pool.MEMORY
    assert [each for each in found if each.said.startswith("FAULT")] == []


def test_the_same_number_is_the_same_mutant():
    assert said("shard", 8, 5) == said("shard", 10, 3)[2:]


def clipped(monkeypatch):
    monkeypatch.setitem(pictures.WAYS, "I;16", pictures._plain)


def without_the_last(monkeypatch):
    found = samples.Contents.samples
    monkeypatch.setattr(samples.Contents, "samples", lambda self: found(self)[:-1] or found(self))


def another_label(monkeypatch):
    checked = tables._checked
    monkeypatch.setattr(tables, "_checked", lambda *a: {file: label ^ 1 for file, label in checked(*a).items()})


def without_a_key(monkeypatch):
    monkeypatch.setattr(campaign, "plain", lambda text: {k: v for k, v in (plain(text) or {}).items() if k != "seed"})


def without_damaged_files(monkeypatch):
    read = rows.read

    def lenient(*arguments):
        with suppress(BadInput):
            yield from read(*arguments)

    monkeypatch.setattr(rows, "read", lenient)


@pytest.mark.parametrize(
    ("name", "sabotage", "fault"),
    [
        ("image", clipped, "Pillow itself gives"), ("shard", without_the_last, "tarfile reads samples"),
        ("index", another_label, "which no line gives it"), ("yaml", without_a_key, ".seed: "),
        ("store", without_damaged_files, "rows changed"),
    ],
)  # fmt: skip
def test_a_reader_that_breaks_its_word_is_found(name, sabotage, fault, monkeypatch):
    sabotage(monkeypatch)
    assert any(fault in found.said for found in tried(Piece(name, 1, 1 + 5 * QUICK[name])))


class Bad(Kind):
    """Kill its process at the second mutant."""

    def attempt(self, chance):
        self.number = getattr(self, "number", 0) + 1
        if self.number == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "as before"


class Slow(Kind):
    """Wait without end, which takes nothing of a core, at the second mutant."""

    def attempt(self, chance):
        self.number = getattr(self, "number", 0) + 1
        if self.number == 2:
            time.sleep(60)
        return "as before"


class Large(Kind):
    """Ask for more memory than there is."""

    def attempt(self, chance):
        return str(len(bytes(3 * pool.MEMORY)))


@pytest.mark.slow  # six processes, each of which imports the product
def test_a_process_that_dies_hangs_or_grows_is_a_fault_of_its_mutant_alone(monkeypatch):
    monkeypatch.setattr(pool, "LATE", 2)
    kinds = {"bad": Bad, "slow": Slow, "large": Large}
    found = sorted(verdicts([Piece("bad", 1, 4), Piece("slow", 1, 4), Piece("large", 1, 2)], 2, kinds))
    faults = {(each.kind, each.number): each.said for each in found if each.said.startswith("FAULT")}
    assert [(each.kind, each.number) for each in found] == [
        ("bad", 1), ("bad", 2), ("bad", 3), ("large", 1), ("slow", 1), ("slow", 2), ("slow", 3)
    ]  # fmt: skip
    assert list(faults) == [("bad", 2), ("large", 1), ("slow", 2)]
    assert "exit code -11" in faults["bad", 2] and "hangs in compiled code" in faults["slow", 2]
    assert "MemoryError" in faults["large", 1]
