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
    assert (widest > 3) == ((max(values) - min(values) + 1) * 14 > DENSE * 500)
    assert counted(table) == Counter(rows)
    assert alike(table)[0].schema.types == list(kinds.values())


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64()], ids=str)
def test_the_ends_of_a_type_and_their_neighbours_are_told_apart(kind):
    info = np.iinfo(kind.to_pandas_dtype())
    low, high = (info.min, info.max) if kind.bit_width < 64 else (-(1 << 60), 1 << 60)
    for values in ([high, low, high, low + 1], [high, high - 1, high], [low, low + 1]):
        table = pa.table({"a": pa.array(values, kind), "b": pa.array([5] * len(values), kind)})
        assert counted(table) == Counter((value, 5) for value in values)


def test_one_value_alone_stands_for_all_rows():
    found, counts = alike(pa.table({"a": pa.array([20] * 9, pa.int32())}))
    assert found.to_pylist() == [{"a": 20}] and counts.tolist() == [9]


@pytest.mark.parametrize(
    "column",
    [pa.array([1, None, 1], pa.int32()), pa.array([0.5, 0.5, 0.5]), pa.array(["x", "x", "y"]), pa.array([[1], [1], [1]])],
    ids=["nulls", "floats", "texts", "lists"],
)
def test_other_columns_are_left_out(column):
    found, counts = alike(pa.table({"a": pa.array([1, 2, 1]), "b": column}))
    assert found.to_pydict() == {"a": [1, 2]} and counts.tolist() == [2, 1]
    assert not alike(pa.table({"b": column}))[0].column_names


def test_of_values_too_far_apart_for_one_number_none_is_left():
    table = pa.table({name: pa.array([-(1 << 62), 1 << 61]) for name in "ab"})
    assert not alike(table)[0].column_names


def test_of_no_rows_none_is_left():
    assert not alike(pa.table({"a": pa.array([], pa.int32())}))[0].column_names and not alike(pa.table({}))[0].column_names
