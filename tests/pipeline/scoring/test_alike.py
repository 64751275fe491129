"""Rows that are alike are found as by counting them one by one, and scored once for all."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.scoring.alike import DENSE, alike


def counted(table):
    found, counts = alike(table)
    return {tuple(row.values()): int(n) for row, n in zip(found.to_pylist(), counts, strict=True)}


@pytest.mark.parametrize("widest", [3, 900, 1 << 40], ids=["dense", "sorted", "far apart"])
def test_distinct_rows_and_their_number_are_those_of_a_count_one_by_one(widest):
    """The values are negative too, and so far apart that no table of all combinations holds them."""
    draws = random.Random(widest)
    values = [draws.randrange(-widest, widest) for _ in range(4)]
    rows = [(draws.choice(values), draws.choice(values) % 7, draws.random() < 0.5) for _ in range(500)]
    kinds = {"a": pa.int64(), "b": pa.int32(), "c": pa.bool_()}
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds.values(), strict=True)], list(kinds)
    )
    assert (widest > DENSE) == (max(values) - min(values) > DENSE)
    assert counted(table) == Counter(rows)
    assert alike(table)[0].schema.types == list(kinds.values())


def test_one_value_alone_stands_for_all_rows():
    found, counts = alike(pa.table({"a": pa.array([20] * 9, pa.int32())}))
    assert found.to_pylist() == [{"a": 20}] and counts.tolist() == [9]


@pytest.mark.parametrize(
    "column",
    [pa.array([1, None, 1], pa.int32()), pa.array([0.5, 0.5, 0.5]), pa.array(["x", "x", "y"]), pa.array([[1], [1], [1]])],
    ids=["nulls", "floats", "texts", "lists"],
)
def test_other_columns_leave_the_rows_as_they_are(column):
    table = pa.table({"a": pa.array([1, 1, 1]), "b": column})
    found, counts = alike(table)
    assert found is table and counts is None


def test_values_too_far_apart_for_one_number_leave_the_rows_as_they_are():
    table = pa.table({name: pa.array([-(1 << 62), 1 << 61]) for name in "ab"})
    assert alike(table)[1] is None


def test_no_rows_are_no_rows():
    assert alike(pa.table({"a": pa.array([], pa.int32())}))[1] is None and np.size(alike(pa.table({}))[1]) == 1
