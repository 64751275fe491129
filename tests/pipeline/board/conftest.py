import pytest

from pipeline.board import gather, groups, refusals
from tests.support.stores import boarded


@pytest.fixture
def board_store(tmp_path, monkeypatch):
    """Return a function that writes a store which may stand on the board, but for what is changed, and returns its job."""
    return lambda content=None, name="store", **options: boarded.store(tmp_path / name, monkeypatch, content, **options)


@pytest.fixture
def entry_of():
    """Return a function that returns the one entry of a store."""

    def gathered(job, dataset="ImageNet"):
        (cells,) = groups(job, None)
        return gather(job, cells, dataset, boarded.SUBMISSION)

    return gathered


@pytest.fixture
def refused(entry_of):
    """Return a function that returns all reasons why the one entry of a store is refused."""
    return lambda job: list(refusals(entry_of(job)))
