import pytest

from pipeline import progress
from pipeline.campaign import parse
from pipeline.job import prepare
from pipeline.queue import Failed
from pipeline.worker import Finished, Progress
from tests.pipeline import tiny


@pytest.fixture
def pace(tmp_path, pattern, monkeypatch):
    """A pace over 2 x 3 units of a campaign, 6 steps each, and its clock."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store"))
    units = job.todo()
    return progress.Pace(job, units, 2), units, now


def test_what_is_left_and_how_fast_it_goes(pace):
    found, units, now = pace
    total = 8 * 18 + 8 * 6  # images x steps x draws of either cell
    assert (found.total, found.to_do, found.seconds_left) == (total, total, None)
    first = units[0]
    assert (first.cell, first.images) == ("net-bart2-pgd", 3)
    now[0] += 4
    found.saw(Progress(first, 2, 6, 18, 4.0))
    assert (found.to_do, found.rate) == (total - 18, 18 / 4)
    pace_of_both = (4 / 18, 4 / 18 / 1.4)
    assert found.seconds_left == pytest.approx(((144 - 18) * pace_of_both[0] + 48 * pace_of_both[1]) / 2)
    found.saw(Finished(first, 0, 54, 12.0))
    assert found.to_do == total - 54


def test_a_resumed_unit_counts_as_done_but_not_as_fast(pace):
    found, units, now = pace
    now[0] += 2
    found.saw(Progress(units[0], 4, 6, 0, 0.0))
    assert found.to_do == found.total - 36 and found.rate == 0
    found.saw(Progress(units[0], 5, 6, 9, 1.0))
    assert found.to_do == found.total - 45 and found.rate == 4.5


def test_lost_work_is_to_do_again_and_a_given_up_unit_is_not(pace):
    found, units, _ = pace
    found.saw(Progress(units[0], 3, 6, 27, 1.0))
    found.lost(Failed(units[0], "died", final=False))
    assert found.to_do == found.total
    found.lost(Failed(units[0], "died", final=True))
    assert found.to_do == found.total - 54


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03")])
def test_clock(seconds, said):
    assert progress.clock(seconds) == said
