"""Which cells are held against which."""

import pytest

from pipeline.analysis.comparison import Side
from pipeline.analysis.comparison.sides import matched
from pipeline.errors import BadInput

STORES = {"a": ["x", "y", "z"], "b": ["y", "z", "w"], "one": ["u"], "two": ["v"], "empty": []}


def pairs(*sides, only=()):
    found, notes, lacking = matched([Side.of(side) for side in sides], STORES.__getitem__, only)
    assert len(lacking) <= len(notes)
    return [f"{one} {two}" for one, two in found], notes


@pytest.mark.parametrize(
    ("text", "store", "cell"),
    [
        ("stores/demo", "stores/demo", None),
        ("stores/demo::m-d-a.1", "stores/demo", "m-d-a.1"),
        ("s3://bucket/demo", "s3://bucket/demo", None),
        ("s3://bucket/demo::m-d-a", "s3://bucket/demo", "m-d-a"),
        ("az://container/x:y", "az://container/x:y", None),
        ("a::b::c", "a::b", "c"),
        ("a::", "a::", None),
        ("::c", "::c", None),
        ("a::b/c", "a::b/c", None),
    ],
)
def test_a_side_is_a_store_or_a_cell(text, store, cell):
    assert Side.of(text) == Side(store, cell)
    assert str(Side(store, cell)) == text and Side.of(Side(store, cell)) == Side(store, cell)


def test_a_folder_that_is_there_is_no_cell(tmp_path):
    (tmp_path / "a::b").mkdir()
    assert Side.of(f"{tmp_path}/a::b") == Side(f"{tmp_path}/a::b")


def test_stores_are_matched_by_name_and_what_is_alone_is_named():
    found, notes = pairs("a", "b")
    assert found == ["a::y b::y", "a::z b::z"]
    assert notes == [
        "left out: a has the cell x, b has no rows of it",
        "left out: b has the cell w, a has no rows of it",
    ]
    assert pairs("a", "b", only=["z"]) == (["a::z b::z"], [])
    assert pairs("a", "b", "a")[0] == ["a::y b::y", "a::z b::z", "a::x a::x", "a::y a::y", "a::z a::z"]


def test_cells_that_are_named_are_compared_whatever_their_names():
    assert pairs("a::x", "b::w") == (["a::x b::w"], [])
    assert pairs("one", "two")[0] == ["one::u two::v"], "one cell each"
    assert pairs("a::y", "b")[0] == ["a::y b::y"]
    assert pairs("a::x", "one")[0] == ["a::x one::u"]
    assert pairs("one", "b::w")[0] == ["one::u b::w"]
    assert pairs("a::x", "a::y", "b::w")[0] == ["a::x a::y", "a::x b::w"]


def test_cells_of_one_store_have_the_first_as_baseline():
    assert pairs("a", only=["z", "x", "y", "x"])[0] == ["a::z a::x", "a::z a::y"]


@pytest.mark.parametrize(
    ("sides", "only", "said"),
    [
        (["a"], [], "a alone is nothing to compare: give a second store, or two cells .* it has x, y, z"),
        (["a::x"], [], "alone is nothing to compare"),
        (["a"], ["x", "nope"], "store a holds no rows of the cell 'nope': it has x, y, z"),
        (["a", "two"], [], "a and two have no cell of the same name: x, y, z; v; name a cell of each, as STORE::CELL"),
        (["a::nope", "b"], [], "store a holds no rows of the cell 'nope'"),
        (["a", "b"], ["x"], "store b holds no rows of the cell 'x': it has y, z, w"),
        (["a", "empty"], [], "no cell of the same name: x, y, z; no cell with rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(sides, only, said):
    with pytest.raises(BadInput, match=said):
        pairs(*sides, only=only)
