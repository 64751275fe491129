"""The driver with many actors, in virtual time: they start together, and whatever is lost, each unit is done."""

import threading
from types import SimpleNamespace

import pytest

from benchmarks.scale_cluster import NEED, campaign
from benchmarks.simulated.clock import Clock
from benchmarks.simulated.fake_ray import FakeRay, SimulatedCluster
from benchmarks.simulated.link import Link
from benchmarks.simulated.machines import World
from benchmarks.simulated.work import Work
from pipeline.campaigns.attempt.events import Finished
from pipeline.execution.queue import Failed, Queue
from pipeline.execution.ray import actor_pool, dispatch


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Plays a campaign of some GPU-hours on nodes of 8 workers; returns its world, units and events."""

    def play(nodes, hours, losses=0.0):
        clock = Clock()
        monkeypatch.setattr(actor_pool, "time", clock)
        monkeypatch.setattr(dispatch, "time", clock)
        job, each = campaign(str(tmp_path), hours, 8 * nodes)
        (tmp_path / "results").mkdir()
        link = Link(clock, 20e9, 1e9)
        world = World(clock, link, Work(clock, link, job, each, 1e6), nodes, losses)
        units = [unit for number, unit in enumerate(job.units()) if number % 20 == 0]
        pool = actor_pool.ActorPool(FakeRay(clock, world), job, lambda *given: None, SimulatedCluster(world), NEED)
        events = list(dispatch.Dispatch(pool, Queue(units), threading.Event(), lambda line: None).run())
        assert pool.ready == sum(member.ready for member in pool.members)
        pool.close()
        assert not pool.ready
        return world, units, events

    return play


def test_all_actors_are_asked_for_at_once(played):
    world, units, events = played(nodes=40, hours=4)
    ready = sorted(world.work.ready)
    assert len(ready) == 320
    assert ready[-1] - ready[0] < 5, "they are processes that start at the same time, on machines of their own"
    assert {event.unit for event in events if isinstance(event, Finished)} == set(units)


def test_nodes_that_are_lost_cost_work_and_no_unit(played):
    world, units, events = played(nodes=8, hours=200, losses=6.0)
    assert world.counts["losses"] > 3 and world.spent["lost work"] > 0
    finished = [event.unit for event in events if isinstance(event, Finished)]
    assert sorted(unit.name for unit in finished) == sorted(unit.name for unit in units)
    assert not any(isinstance(event, Failed) for event in events)
    done = sum(unit.images * world.work.each[unit.cell][0] for unit in units)
    assert world.spent["computing"] == pytest.approx(done), "what was lost was done again, and nothing else twice"


@pytest.mark.parametrize(("actors", "seconds"), [(1, 1.0), (150, 1.0), (1600, 1600 / 300), (100_000, 15.0)])
def test_reports_are_as_many_as_a_driver_takes_and_each_actor_is_heard_in_time(actors, seconds, monkeypatch):
    asked = []
    handle = SimpleNamespace(exchange=SimpleNamespace(remote=lambda units, leave, wait: asked.append(wait)))
    job = SimpleNamespace(workers=SimpleNamespace(silent_seconds=60))
    ray = SimpleNamespace(remote=lambda **options: lambda kind: kind, put=lambda value: value)
    pool = actor_pool.ActorPool(ray, job, None, None, NEED)
    pool.members = [actor_pool.Member(handle, None, 0.0)] * actors
    pool.send(pool.members[0], [], False)
    assert asked == [pytest.approx(seconds)]
