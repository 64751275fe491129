"""Check that a worker computes on what it was given, whatever its process sees."""

import platform
import subprocess
import sys
import threading

import pytest
import torch

from pipeline.config.campaign import Workers
from pipeline.execution import LocalExecutor
from pipeline.execution.ray import actor
from pipeline.execution.worker import device_of
from tests.support.processes import PATIENCE
from tests.support.source.imports import ROOT

GIVEN = [(0, True, "cpu"), (0.5, True, "cuda"), (1, True, "cuda"), (None, True, "cuda"), (1, False, "cpu")]


class Asked:
    """A job whose work is to tell its device."""

    def __init__(self, gpus=None):
        self.workers = Workers(gpus=gpus)


@pytest.fixture
def seen(monkeypatch):
    """Return a function that says whether this process sees GPUs."""
    return lambda gpus: monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)


@pytest.mark.parametrize(("gpus", "visible", "device"), GIVEN)
def test_the_device_is_that_of_the_share(seen, gpus, visible, device):
    seen(visible)
    assert device_of(gpus).type == device


def begun(devices):
    """Return the function that begins a worker, and adds its device to `devices`."""

    def begin(job, device, drain):
        devices.append(device.type)
        return lambda unit: iter(())

    return begin


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (None, "cuda")])
def test_a_worker_in_this_process_leaves_gpus_alone_that_it_was_not_given(seen, gpus, device):
    seen(True)
    devices = []
    assert list(LocalExecutor(begun(devices)).execute(Asked(gpus), ["unit"], threading.Event())) == []
    assert devices == [device]


@pytest.mark.parametrize(("given", "device"), [(0, "cpu"), (1, "cuda")])
def test_an_actor_asks_ray_what_it_was_given(seen, monkeypatch, given, device):
    seen(True)
    monkeypatch.setattr(actor, "given_gpus", lambda: given)
    monkeypatch.setattr(actor.signal, "signal", lambda *arguments: None)
    devices = []
    worker = actor.Actor(Asked(), begun(devices))
    assert worker.exchange(["unit"], False, 10).ended == [actor.Ended("unit")]
    worker.exchange([], True, 10)
    assert devices == [device]


def ran(program, *arguments):
    """Return what a program did in a process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)


FAULTS = """
import resource, sys, threading
import torch
from pipeline.execution.worker import keep_memory

def passes():
    for i in range(9):
        kept = [torch.ones(2**19) for _ in range(60)]  # 120 MB in pieces of 2
        del kept
        seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    faults.append(seen[-1] - seen[-5])

torch.set_num_threads(1)
seen, faults = [], []
if sys.argv[1] == "keep":
    keep_memory()
passes()
thread = threading.Thread(target=passes)
thread.start()
thread.join()
print(sum(faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries of C keep memory as they like")
def test_a_worker_keeps_the_memory_of_a_pass_for_the_next():
    faults = {how: int(ran(FAULTS, how).stdout) for how in ("keep", "as it is")}
    assert faults["as it is"] > 5000, "this test would not see it: even huge pages are cleared anew"
    assert faults["keep"] < faults["as it is"] / 5, "pages that the system cleared for a later pass"


PROGRAM = """
import ray
from pipeline.execution.ray.actor import given_gpus
ray.init(address="local", num_cpus=3, num_gpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
ask = ray.remote(given_gpus)
print(ray.get([ask.options(num_cpus=1, num_gpus=gpus).remote() for gpus in (0, 0.5, 1)]))
"""


@pytest.mark.slow
def test_ray_tells_what_it_gave_on_a_machine_with_two_pretended_gpus():
    done = ran(PROGRAM)
    assert done.stdout.strip() == "[0, 1, 1]", done.stderr[-2000:]
