"""A Ray cluster of several nodes on this machine: who gets to work, and what becomes of a unit whose worker is lost."""

import os
import re
import signal
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.errors import BadInput
from pipeline.execution import RayExecutor
from pipeline.execution.queue import Failed
from tests.support.cluster import pretended_jobs
from tests.support.cluster.pretended_jobs import Task, Through, Went
from tests.support.processes import PATIENCE, gone, until

ROOT = Path(__file__).parents[3]
PREEMPTION = 2
"""Ray's number of that reason to drain a node."""


@pytest.fixture(scope="module")
def cluster():
    """A head without room for workers, and a node with one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        quick = {"metrics_report_interval_ms": 500, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}
        head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False, "_system_config": quick}
        made = Cluster(initialize_head=True, head_node_args=head)
        ray.init(address=made.address, log_to_driver=False, logging_level="error")
        made.add_node(num_cpus=1, object_store_memory=80_000_000, labels={"room": "small"})
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def extra(cluster):
    """Adds nodes, which are gone after the test."""
    added = []

    def add(cpus=1, **options):
        added.append(cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000, **options))
        return added[-1]

    yield add
    for node in added:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)
    mine = {node.node_id for node in added}  # while they live, the next test counts on their GPUs
    until(lambda: not any(node["Alive"] and node["NodeID"] in mine for node in ray.nodes()), "removed nodes to be gone")


class Run:
    """An execution, told step by step."""

    def __init__(self, job, tasks):
        self.lines, self.events, self.drain = [], [], threading.Event()
        self.executor = RayExecutor(job, pretended_jobs.begin, say=self.lines.append)
        self._stream = self.executor.execute(job, tasks, self.drain)

    def until(self, condition):
        """Goes on until the condition holds, which is asked after each event."""
        end = time.monotonic() + PATIENCE
        for event in self._stream:
            self.events.append(event)
            if condition():
                return
            assert time.monotonic() < end, "waited too long"
        raise AssertionError(f"the run is over: {self.events}")

    def rest(self):
        """Goes on to the end."""
        self.events += self._stream
        self.executor.close()
        return self

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def start():
    """Starts executions, whose actors are gone after the test."""
    runs = []

    def begin(job, tasks):
        runs.append(Run(job, tasks))
        return runs[-1]

    yield begin
    for run in runs:
        run._stream.close()  # type: ignore[attr-defined]
        run.executor.close()


def ends(pid):
    """Waits for the end of a process."""
    return until(lambda: gone([pid]), f"the end of process {pid}")


def test_small_units_are_each_done_once(cluster, start, tmp_path):
    job, tasks = pretended_jobs.job(tmp_path), [Task(f"t{i}") for i in range(1500)]
    run = start(job, tasks).rest()
    assert len(run.of(Through)) == 1500 == len(job.done()) and not run.of(Failed)
    assert [event.unit for event in run.events] == tasks, "one worker does them in their order"


@pytest.mark.slow
def test_nobody_waits_behind_a_long_unit(cluster, extra, start, tmp_path):
    """Many small units, then long ones: those were handed out with the small ones, and come back to be shared."""
    extra()
    job = pretended_jobs.job(tmp_path)
    tasks = [Task(f"s{i}") for i in range(400)] + [Task(f"l{i}", "goes", 3) for i in range(8)]
    run = start(job, tasks).rest()
    counts = Counter(event.pid for event in run.of(Through) if event.unit.seconds)
    assert len(job.done()) == 408 and sorted(counts.values()) == [4, 4]


def test_a_unit_that_raises_what_can_not_be_sent_fails_with_its_traceback(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task("bad", "fails"), Task("good")]).rest()
    failures = run.of(Failed)
    assert [f.final for f in failures] == [False, False, True] and job.done() == ["good"]
    assert all("Unpicklable: no good" in f.error and "pretended_jobs.py" in f.error for f in failures)
    assert all(f.worker.partition("@")[0].isdigit() for f in failures)


def test_what_a_run_counts_can_be_scraped(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    object.__setattr__(job, "name", "scraped")
    tasks = [Task("t0", "goes", 0.3), Task("t1", "goes", 0.3), Task("bad", "fails", counted_as="other")]
    start(job, [*tasks, Task("trial", "goes", 0.1, counted_as=None)]).rest()
    ports = {node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]}
    found, end = {}, time.monotonic() + PATIENCE
    while len(found) < 6 and time.monotonic() < end:
        time.sleep(0.5)
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                for name, labels, value in re.findall(r"ray_barrage_(\w+)\{(.*)\} (\S+)", page.read().decode()):
                    if 'campaign="scraped"' in labels:
                        cell = re.search(r'cell="(\w+)"', labels)
                        found[name, cell and cell[1]] = float(value)
    assert found.pop(("worker_seconds_total", "cell")) == pytest.approx(0.6)
    assert found == {
        ("workers", None): 0,
        ("draw_gradients_total", "cell"): 20,
        ("units_done_total", "cell"): 2,
        ("units_failed_total", "other"): 3,
        ("units_parked_total", "other"): 1,
    }


def test_work_that_can_not_begin_is_a_failure_of_its_unit(cluster, start, tmp_path):
    (tmp_path / "no-begin").touch()
    run = start(pretended_jobs.job(tmp_path), [Task("one")]).rest()
    assert len(run.of(Failed)) == 3 and "weights are not there" in run.events[0].error


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"accelerator": "V100"}, "1 GPUs of type V100"),
        ({"gpus": 1}, "1 GPUs"),
        ({"cpus": 2}, "2 cores"),
        ({"labels": {"room": "large"}}, "room: large"),
    ],
)
def test_what_no_node_has_is_refused_at_once(cluster, tmp_path, asked, named):
    with pytest.raises(BadInput) as found:
        RayExecutor(pretended_jobs.job(tmp_path, **asked), pretended_jobs.begin)
    assert named in str(found.value) and "room: small" in str(found.value) and "\n" not in str(found.value)


def test_cores_of_two_nodes_do_not_add_up_and_another_gpu_is_no_v100(cluster, extra, tmp_path):
    extra(num_gpus=1, resources={"accelerator_type:H100": 1})
    with pytest.raises(BadInput, match=r"of type V100 .*1 GPUs H100"):
        RayExecutor(pretended_jobs.job(tmp_path, accelerator="V100"), pretended_jobs.begin)
    with pytest.raises(BadInput, match="2 cores each, the cluster has"):
        RayExecutor(pretended_jobs.job(tmp_path, cpus=2, gpus=0), pretended_jobs.begin)


@pytest.mark.slow
def test_workers_go_where_their_accelerator_and_labels_are(cluster, extra, start, tmp_path):
    v100 = extra(2, num_gpus=2, resources={"accelerator_type:V100": 1}, labels={"room": "large"})
    extra(2, num_gpus=2, resources={"accelerator_type:H100": 1})
    for folder, asked in (("a", {"accelerator": "V100"}), ("b", {"gpus": 0, "labels": {"room": "large"}})):
        (tmp_path / folder).mkdir()
        run = start(pretended_jobs.job(tmp_path / folder, **asked), [Task(f"t{i}", "goes", 0.2) for i in range(6)])
        assert run.executor.workers == 2
        assert {event.node for event in run.rest().of(Through)} == {v100.node_id}


@pytest.mark.slow
def test_a_count_is_an_upper_bound_and_workers_spread(cluster, extra, start, tmp_path):
    extra(3), extra(3)
    job = pretended_jobs.job(tmp_path, count=2)
    run = start(job, [Task(f"t{i}", "goes", 0.3) for i in range(20)]).rest()
    assert run.executor.workers == 2 and len({e.pid for e in run.of(Through)}) == 2
    assert len({e.node for e in run.of(Through)}) == 2, "both on one node"


@pytest.mark.slow
def test_nodes_that_join_are_used_and_those_that_are_lost_cost_no_attempt(cluster, extra, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task(f"t{i}", "goes", 1) for i in range(40)])
    run.until(lambda: run.of(Through))
    node = extra(2)
    run.until(lambda: len({e.pid for e in run.of(Through)}) == 3)
    cluster.remove_node(node, allow_graceful=False)
    run.rest()
    assert len(job.done()) == 40 and not run.of(Failed)
    assert len(run.of(Through)) in (38, 39, 40), "what the lost node had done, and could not say any more, is not done again"
    twice = [task for task in job.done() if len(job.begun(task)) > 1]
    assert len(twice) == 2, "each of its two workers had one unit in hand"


def test_a_killed_actor_is_replaced_and_its_unit_tried_again(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task("t0", "goes", 3), Task("t1")])
    run.until(lambda: run.of(Went))
    os.kill(job.begun("t0")[0], signal.SIGKILL)
    (failed,) = run.rest().of(Failed)
    assert (failed.unit.name, failed.final) == ("t0", False) and "the actor died" in failed.error
    assert job.done() == ["t0", "t1"] and len(job.begun("t0")) == 2


def test_a_stopped_actor_loses_its_unit_and_its_process(cluster, extra, start, tmp_path):
    extra()
    job = pretended_jobs.job(tmp_path, silent_seconds=5)
    run = start(job, [Task(f"t{i}", "goes", 2) for i in range(12)])
    run.until(lambda: run.of(Went))
    victim = job.begun("t0")[0]
    os.kill(victim, signal.SIGSTOP)
    (failed,) = run.rest().of(Failed)
    assert failed.unit.name == "t0" and "no answer for 5 s" in failed.error and failed.worker.startswith(f"{victim}@")
    assert len(job.done()) == 12 and len(run.of(Through)) == 12 and len(job.begun("t0")) == 2
    order = [event.unit.name for event in run.of(Through)]
    assert order.index("t0") < order.index("t11"), "it was found only when all others were done"
    assert ends(victim), "it would wake again"


@pytest.mark.slow
def test_a_unit_that_makes_no_progress_goes_to_another_actor(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path, stuck_seconds=2)
    run = start(job, [Task("long", "goes", 4), Task("stuck", "first_sleeps")]).rest()
    (failed,) = run.of(Failed)
    assert failed.unit.name == "stuck" and "no progress for 2 s" in failed.error
    assert job.done() == ["long", "stuck"] and len(set(job.begun("stuck"))) == 2


def test_an_actor_with_a_broken_gpu_ends_its_process(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task("t0", "first_breaks"), Task("t1")]).rest()
    (failed,) = run.of(Failed)
    assert "illegal memory access" in failed.error and not failed.final
    first, second = job.begun("t0")
    assert first != second and job.begun("t1") == [second] and ends(first)


def test_an_actor_told_to_leave_gives_its_unit_back(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task("t0", "goes", 4), Task("t1")])
    run.until(lambda: run.of(Went))
    first = job.begun("t0")[0]
    os.kill(first, signal.SIGTERM)
    run.rest()
    assert not run.of(Failed) and job.done() == ["t0", "t1"] and len(job.begun("t0")) == 2
    assert any("SIGTERM" in line for line in run.lines) and ends(first)


@pytest.mark.slow
def test_an_actor_told_to_leave_leaves_though_its_unit_goes_on(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task("t0", "deaf", 300)])
    run.until(lambda: run.of(Went))
    first = job.begun("t0")[0]
    os.kill(first, signal.SIGTERM)
    run.rest()
    assert not run.of(Failed) and job.done() == ["t0"] and ends(first)
    assert len(job.begun("t0")) == 2, "the first actor stayed until its unit had ended"


@pytest.mark.slow
def test_a_node_that_is_drained_gives_its_units_back(cluster, extra, start, tmp_path):
    node = extra()
    job = pretended_jobs.job(tmp_path)
    run = start(
        job, [Task(f"t{i}", "goes", 15 if i < 2 else 3) for i in range(4)]
    )  # long enough to be drained on a busy machine
    run.until(lambda: len({e.unit for e in run.of(Went)}) == 2)
    client = ray._raylet.GcsClient(address=cluster.address)  # type: ignore[attr-defined]
    accepted, why = client.drain_node(node.node_id, PREEMPTION, "spot notice", int(time.time() * 1000) + 600_000)
    assert accepted, why
    run.rest()
    assert not run.of(Failed) and len(job.done()) == 4
    assert sum(len(job.begun(task)) for task in job.done()) == 5, "only the unit of the drained node was begun twice"


def test_a_run_told_to_stop_ends_with_its_units_drained(cluster, start, tmp_path):
    job = pretended_jobs.job(tmp_path)
    run = start(job, [Task(f"t{i}", "goes", 300) for i in range(3)])
    run.until(lambda: run.of(Went))
    run.drain.set()
    run.rest()
    assert not run.of(Failed) and job.done() == [] and ends(job.begun("t0")[0])


@pytest.mark.slow
def test_an_actor_for_which_there_is_no_room_is_asked_for_again(cluster, start, tmp_path):
    """Somebody else holds the only core for a while."""
    holder = ray.remote(num_cpus=1)(type("Holder", (), {"ready": lambda self: True})).remote()
    ray.get(holder.ready.remote())
    job = pretended_jobs.job(tmp_path, ready_seconds=2)
    run = start(job, [Task("t0")])
    timer = threading.Timer(6, ray.kill, [holder])
    timer.start()
    assert len(run.rest().of(Through)) == 1 and not run.of(Failed)
    timer.join()
