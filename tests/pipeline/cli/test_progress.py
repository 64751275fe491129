import pytest

from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.prepare import prepare
from pipeline.cli import pace as pace_module
from pipeline.config.campaign import parse
from pipeline.execution.queue import Failed
from tests.support import tiny


@pytest.fixture
def pace(tmp_path, pattern, monkeypatch):
    """A pace over 2 x 3 units of a campaign, 6 steps each, and its clock."""
    now = [100.0]
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now[0])
    job = prepare(parse(tiny.campaign(pattern), "c.yaml"), str(tmp_path / "store"))
    units = job.todo()
    return pace_module.Pace(job, units, 2), units, now


TOTAL = 8 * 18 + 8 * 6
"""Draw-gradients of the campaign: images x steps x draws of either cell."""


def test_what_is_left_and_how_fast_it_goes(pace):
    found, units, now = pace
    assert (found.to_do, found.seconds_left, found.share) == (TOTAL, None, 0)
    first = units[0]
    assert (first.cell, first.images) == ("net-bart2-pgd", 3)
    found.saw(Progress(first, 0, 6, 0, 0.0))
    now[0] += 4
    found.saw(Progress(first, 2, 6, 18, 4.0))
    assert (found.to_do, found.rate) == (TOTAL - 18, 18 / 4)
    bart2 = 4.0  # seconds an image: the first took 4 s for a third of three
    none = bart2 * (6 + 2 / 3) / ((18 + 8 / 3) * 1.4)  # as the draws, with a gradient and without, and k suggest
    assert found.seconds_left == pytest.approx((7 * bart2 + 8 * none) / 2)
    assert found.share == pytest.approx(bart2 / (8 * bart2 + 8 * none))
    found.saw(Finished(first, 0, 54, 15.0))
    assert found.to_do == TOTAL - 54
    assert found.seconds_left == pytest.approx((5 * 5.0 + 8 * none * 5 / 4) / 2)


def test_a_resumed_unit_counts_as_done_but_not_as_fast(pace):
    found, units, now = pace
    now[0] += 2
    found.saw(Progress(units[0], 4, 6, 0, 0.0))
    assert found.to_do == TOTAL - 36 and found.rate == 0 and found.seconds_left is None
    found.saw(Progress(units[0], 5, 6, 9, 1.0))
    assert found.to_do == TOTAL - 45 and found.rate == 4.5
    assert found.seconds_left == pytest.approx((5.5 * 2 + 8 * 2 * (20 / 3) / (62 / 3 * 1.4)) / 2), "a sixth of three took 1 s"


def test_an_attack_without_gradients_has_a_pace_too(tmp_path, pattern):
    content = tiny.campaign(pattern, attacks={"pgd": {"kind": "noise", "eps": "8/255", "steps": 4}})
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    found = pace_module.Pace(job, job.todo(), 1)
    assert (found.to_do, found.share) == (0, 0)
    found.saw(Finished(job.todo()[0], 0, 0, 3.0))
    assert found.share > 0 and found.seconds_left > 5.0


def test_lost_work_is_to_do_again_and_a_given_up_unit_is_not(pace):
    found, units, _ = pace
    found.saw(Progress(units[0], 3, 6, 27, 1.0))
    assert found.to_do == TOTAL - 27
    found.lost(Failed(units[0], "died", final=False))
    assert found.to_do == TOTAL
    found.lost(Failed(units[0], "died", final=True))
    assert found.to_do == TOTAL - 54
