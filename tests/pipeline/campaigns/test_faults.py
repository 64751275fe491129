"""Real processes, real signals: whatever is killed, the same command goes on and the rows are those of a quiet run."""

import os
import signal

import pytest
from rich.console import Console

from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.execution import LocalExecutor
from tests.support import tiny
from tests.support.campaigns import checkpoints, command, decided
from tests.support.processes import PATIENCE, actors, family, gone, until


@pytest.fixture
def campaign(pattern, write):
    content = tiny.campaign(pattern, workers={"checkpoint_seconds": 0.05, "count": 2}, unit_images=2)
    content["models"]["net"]["architecture"] = "tests.support.tiny:slow_network"
    content["attacks"]["pgd"]["steps"] = 80
    return content, write(content)


def test_a_run_survives_the_kill_of_an_actor_the_driver_and_everything(tmp_path, campaign, monkeypatch):
    content, path = campaign
    store = tmp_path / "store"

    first = command(path, store)
    seen = until(lambda: checkpoints(store), "a first checkpoint")
    victim = until(lambda: actors(first.pid), "an actor")[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: checkpoints(store, seen), "a checkpoint after the actor's death")
    until(lambda: set(actors(first.pid)) - {victim}, "a new actor")
    assert first.poll() is None, "the run ended with one actor"

    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=PATIENCE)
    assert first.returncode == 143, output
    assert "back to the queue" in output and "resume with: barrage run" in output
    before = checkpoints(store)
    assert before, "a run that is told to stop leaves checkpoints"

    second = command(path, store)
    until(lambda: checkpoints(store, before), "progress of the second run")
    everyone = list(family(second.pid))
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    until(lambda: gone(everyone), "Ray to end with its driver")

    before = checkpoints(store)
    third = command(path, store)
    until(lambda: checkpoints(store, before), "progress of the third run")
    everyone = list(family(third.pid))
    for pid in everyone:
        os.kill(pid, signal.SIGKILL)
    third.wait()
    until(lambda: gone(everyone), "everything to be dead")

    last = command(path, store, TINY_PAUSE="0")  # nobody is killed any more
    output, _ = last.communicate(timeout=3 * PATIENCE)
    assert last.returncode == 0, output
    assert list(verify(opened(str(store)))) == []
    assert not checkpoints(store)

    monkeypatch.setenv("TINY_PAUSE", "0")
    quiet = prepare(parse(content, "c"), str(tmp_path / "quiet"))
    assert run(quiet, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    assert decided(store) == decided(quiet.store)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_run_that_loses_ray_itself_ends_with_a_clear_line_and_can_go_on(tmp_path, campaign, write, part):
    store, (content, _) = tmp_path / "store", campaign
    content["attacks"]["pgd"]["steps"] = 1000  # or all is done before Ray has noticed
    path = write(content)
    first = command(path, store)
    until(lambda: checkpoints(store), "a first checkpoint")
    everyone = family(first.pid)
    (victim,) = [pid for pid, line in everyone.items() if line.partition(" ")[0].endswith(f"/{part}")]
    os.kill(victim, signal.SIGKILL)
    output, _ = first.communicate(timeout=PATIENCE)
    ours = [line for line in output.splitlines() if line.startswith("barrage: ")]  # Ray's own processes may log after it
    assert first.returncode == 1, output
    assert len(ours) == 1 and "run the same command again" in ours[0], output
    until(lambda: gone(everyone), "Ray to end with its driver")

    before = checkpoints(store)
    second = command(path, store)
    until(lambda: checkpoints(store, before), "progress of the second run")
    second.send_signal(signal.SIGTERM)
    output, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 143, output
