"""Check what the host has to do for a pass on a GPU: a few starts, one node of autograd, however many transforms there are."""

import json
import subprocess
import sys

import pytest

from benchmarks.host import PASS, WARM
from tests.support.processes import PATIENCE

pytest.importorskip("triton")


def last_pass(k, side, network="none"):
    command = [sys.executable, str(PASS), str(k), "64", str(side), network]
    done = subprocess.run(command, input="go\n" * WARM, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    *_, found = map(json.loads, done.stdout.splitlines())
    return found


@pytest.mark.parametrize(("k", "side"), [(10, 224), (5, 224), (10, 32)])
def test_a_pass_takes_a_few_starts_and_one_node(k, side):
    found = last_pass(k, side)
    assert found["nodes"] == 1 and found["replays"] == 2, "a recorded pass forward, another backward"
    assert found["launches"] <= 3 and found["operators"] <= 3, "images and gradients enter and leave"


def test_a_whole_step_of_an_attack_is_one_replay():
    found = last_pass(3, 32, "resnet20_cifar")
    assert found["launches"] == 0 and found["replays"] == 1 and found["recorded"] > 200
    assert found["operators"] <= 30, "keys and images enter, a gradient leaves"
