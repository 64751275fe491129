"""Throughput and time left, against commits whose answer is known beforehand."""

import numpy as np
import pytest

from pipeline.planning import time_left
from pipeline.planning.time_left import HOUR, PAUSE, throughput


def seen(times, took, images=2.0, gradients=100.0):
    times, each = np.array(times, float), np.ones(len(times))
    return throughput(times, images * each, gradients * each, took * each)


def test_one_commit_says_what_one_worker_does():
    found = seen([1000.0], 50.0)
    assert (found.seconds, found.images, found.draw_gradients, found.workers) == pytest.approx((50, 2 / 50, 2, 1))
    assert seen([], 1.0) is None


@pytest.mark.parametrize("workers", [1, 8, 500])
def test_workers_in_step_are_counted_from_the_first_burst_on(workers):
    for bursts in (1, 2, 7):
        found = seen([900.0 * (1 + burst) for burst in range(bursts) for _ in range(workers)], 900.0)
        assert found.workers == pytest.approx(workers, rel=1e-9), bursts


@pytest.mark.parametrize("workers", [1, 3, 500])
def test_workers_out_of_step_are_counted_too(workers):
    times = [900 + 900 * i / workers for i in range(20 * workers)]
    found = seen(times, 900.0)
    assert found.seconds == 4 * 900 and found.workers == pytest.approx(workers, rel=0.01)
    assert found.images == pytest.approx(2 * workers / 900, rel=0.01)


def test_the_first_stretch_begins_with_the_unit_that_was_begun_first():
    times, took = np.array([10.0, 20.0, 100.0]), np.array([10.0, 10.0, 100.0])  # two workers: 10 + 10, and 100 s
    ones = np.ones(3)
    found = throughput(times[::-1] + 500, ones, ones, took[::-1])
    assert (found.seconds, found.workers) == pytest.approx((100, 1.2))


def test_order_of_files_is_of_no_account():
    times = [100.0, 200.0, 300.0]
    assert seen(times, 100.0) == seen(times[::-1], 100.0)


def test_a_night_without_a_run_is_no_part_of_the_rate():
    evening, morning = [100.0 * i for i in range(1, 9)], [50_000 + 100.0 * i for i in range(1, 4)]
    assert vars(seen(evening + morning, 100.0)) == pytest.approx(vars(seen(morning, 100.0)))
    short = [times + PAUSE for times in evening]  # no longer than a unit may take, and so no pause
    assert seen([0.0, *short], 100.0).seconds == pytest.approx(short[-1] + 100)


def test_only_the_last_hour_counts_or_four_of_the_longest_units():
    slow, fast = [60.0 * i for i in range(100)], [6000 + 6.0 * i for i in range(1, 1000)]
    took = np.array([60.0] * 100 + [6.0] * 999)
    ones = np.ones(len(took))
    found = throughput(np.array(slow + fast), ones, ones, took)
    assert (
        found.seconds == HOUR and found.images == pytest.approx(1 / 6, rel=0.01) and found.workers == pytest.approx(1, rel=0.01)
    )
    assert seen([2000.0 * i for i in range(50)], 2000.0).seconds == 8000


def test_prices_of_cells_not_begun_follow_from_those_measured():
    weights = {"a": 10.0, "b": 30.0, "c": 5.0}
    assert time_left.prices({"a": 2.0, "b": 6.0}, weights) == {"a": 2.0, "b": 6.0, "c": 1.0}
    assert time_left.prices({"a": 1.0, "b": 7.0}, weights)["c"] == 1.0, "both count, by what they cost"
    assert time_left.prices({}, weights) == {}


def test_time_left_is_shared_by_the_workers_and_unknown_without_a_price():
    assert time_left.seconds_left({"a": 10, "b": 5}, {"a": 2.0, "b": 4.0}, 4) == 10
    assert time_left.seconds_left({"a": 10, "b": 5}, {"a": 2.0}, 4) is None
    assert time_left.seconds_left({"a": 10, "b": 0}, {"a": 2.0}, 2) == 10


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03"), (86399, "23:59:59"), (76.4 * HOUR, "3 d 4 h")]
)
def test_clock(seconds, said):
    assert time_left.clock(seconds) == said
