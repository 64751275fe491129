import random

import pytest

from pipeline.execution.queue import ATTEMPTS, Queue


def test_units_come_in_order_and_each_once():
    queue = Queue("abc")
    assert len(queue) == 3 and [queue.take("w") for _ in range(4)] == ["a", "b", "c", None]
    assert len(queue) == 0 and Queue.of(queue) is queue and len(Queue.of("ab")) == 2


def test_a_unit_that_failed_goes_next_to_somebody_else():
    queue = Queue("abc")
    assert queue.take("w1@x") == "a"
    failed = queue.failed("a", "no", "w1@x")
    assert (failed.unit, failed.error, failed.final, failed.worker) == ("a", "no", False, "w1@x")
    assert queue.take("w1@x") == "b", "it goes on with others"
    assert queue.take("w2@y") == "a"


def test_three_failures_on_three_workers_are_final_and_tell_all_three():
    queue = Queue("a")
    for i in range(ATTEMPTS):
        assert queue.take(f"w{i}@h{i}") == "a"
        failed = queue.failed("a", f"error {i}", f"w{i}@h{i}")
        assert failed.final == (i == ATTEMPTS - 1)
    assert [(a.worker, a.host, a.error) for a in failed.attempts] == [(f"w{i}@h{i}", f"h{i}", f"error {i}") for i in range(3)]
    assert all(a.when.endswith("+00:00") for a in failed.attempts)
    assert len(queue) == 0 and queue.take("w9@h9") is None


def test_a_worker_waits_while_another_may_still_take_what_it_failed_at():
    queue = Queue("ab")
    assert (queue.take("w1"), queue.take("w2")) == ("a", "b")
    queue.failed("a", "no", "w1")
    assert queue.take("w1") is None and len(queue) == 1, "w2 is to try it"
    queue.finished("b")
    assert queue.take("w2") == "a"


def test_a_lone_worker_tries_again_itself_once_nothing_else_is_left():
    queue = Queue("ab")
    finals = []
    for expected in "abaa":
        assert queue.take("w") == expected
        if expected == "b":
            queue.finished("b")
        else:
            finals.append(queue.failed("a", "no", "w").final)
    assert finals == [False, False, True]


def test_a_worker_that_is_lost_counts_for_nothing():
    queue = Queue("ab")
    for _ in range(2 * ATTEMPTS):
        assert queue.take("w") == "a", "what was begun goes on first"
        queue.give_back("a")
    queue.take("w")
    assert not queue.failed("a", "no", "w").final


def test_units_may_be_added_while_others_are_out():
    queue = Queue("a")
    queue.take("w")
    queue.add("bc")
    assert [queue.take("w"), queue.take("w")] == ["b", "c"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_unit_ends_once(seed):
    """Workers come, leave, fail and finish at random; every unit is finished or final, never both, never held twice."""
    chance = random.Random(seed)
    queue, out, ended = Queue(range(30)), {}, []
    for _ in range(3000):
        worker = f"w{chance.randrange(5)}@h"
        if worker not in out:
            if (unit := queue.take(worker)) is not None:
                assert unit not in out.values() and unit not in ended
                out[worker] = unit
            continue
        unit, how = out.pop(worker), chance.random()
        if how < 0.4:
            queue.finished(unit)
            ended.append(unit)
        elif how < 0.7:
            queue.give_back(unit)
        elif queue.failed(unit, "no", worker).final:
            ended.append(unit)
    assert sorted(ended) == list(range(30)) and not out and not queue
